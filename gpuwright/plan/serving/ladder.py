"""The out-of-memory ladder: what a start gives up after one that ran out of memory, as declared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuwright.plan.serving.serving import Serving

if TYPE_CHECKING:
    from gpuwright.plan.serving import Engine

_LEAST = 128


def rungs(serving: Serving, engine: Engine) -> tuple[tuple[str, ...], ...]:
    """Words for each rung, from the first to the lowest; each keeps what the ones before it gave up.

    A context below 128 tokens would serve nobody: such a rung is left out.
    """
    steps = serving.declared.out_of_memory
    found: list[tuple[str, ...]] = []
    for depth in range(1, len(steps) + 1):
        taken = steps[:depth]
        context, batch = taken.count("context"), taken.count("batch")
        if serving.context >> context < _LEAST:
            continue
        found.append(engine.rung(serving, context, batch, taken.count("utilisation")))
    return tuple(found)
