"""What a model needs and what GPUs have: memory by term, layouts, tokens per second, cost. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gpuwright.errors import Refusal
from gpuwright.plan.sizing import vllm
from gpuwright.plan.sizing.checks import impossible
from gpuwright.plan.sizing.engines import ENGINES
from gpuwright.plan.sizing.request import Request
from gpuwright.plan.sizing.result import Layout
from gpuwright.plan.sizing.speed import step_seconds

__all__ = ["ENGINES", "Request", "Sizing", "flags", "most_tokens", "size"]


_STEP = 256
_ORDER = {"PASS": 0, "TIGHT": 1, "NO": 2}


@dataclass(frozen=True)
class Sizing:
    """All layouts that the engine allows, the best first, and why it allows no other.

    `refusals` are what no layout can help; then there are none.
    """

    request: Request
    layouts: tuple[Layout, ...]
    invalid: tuple[tuple[int, str], ...]
    refusals: tuple[Refusal, ...]

    @property
    def verdict(self) -> str:
        """PASS, TIGHT (within the error of the estimate), or NO."""
        return self.layouts[0].verdict if self.layouts else "NO"


def size(request: Request) -> Sizing:
    """Every layout with its terms, best first: what fits before what is tight, GPUs before RAM, then the fastest."""
    refusals = impossible(request)
    if refusals:
        return Sizing(request, (), (), refusals)
    layouts = [
        replace(layout, step_s=step_seconds(request, layout, request.context))
        for layout in ENGINES[request.engine].layouts(request)
    ]
    layouts.sort(key=lambda each: (_ORDER[each.verdict], each.host_layers > 0, each.step_s or 0.0))
    return Sizing(request, tuple(layouts), _invalid(request), ())


def most_tokens(sizing: Sizing) -> int:
    """The longest context, in steps of 256 tokens, with which some layout is not a NO; 0 where there is none."""
    low, high = 0, sizing.request.context // _STEP
    while low < high:
        middle = (low + high + 1) // 2
        asked = replace(sizing.request, context=middle * _STEP)
        if any(each.verdict != "NO" for each in ENGINES[asked.engine].layouts(asked)):
            low = middle
        else:
            high = middle - 1
    return low * _STEP


def flags(request: Request, layout: Layout) -> tuple[str, ...]:
    """What makes the engine run as it was sized."""
    return ENGINES[request.engine].flags(request, layout)


def _invalid(request: Request) -> tuple[tuple[int, str], ...]:
    if request.engine != "vllm":
        return ()
    count = len(request.gpus)
    found = (
        (tensor, vllm.invalid(request.model, request.quantisation, tensor))
        for tensor in range(2, count + 1)
        if count % tensor == 0
    )
    return tuple((tensor, why) for tensor, why in found if why)
