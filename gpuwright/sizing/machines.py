"""What a model is sized for: `2x4090`, or a host with its facts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gpuwright import catalog
from gpuwright.catalog.gpus import GpuRow
from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.facts import HostFacts
from gpuwright.plan import HostPlan
from gpuwright.plan.peers import cards
from gpuwright.planning import targets
from gpuwright.planning.planned import planned

_COUNTED = re.compile(r"(?P<count>[0-9]{1,2}) ?x ?(?P<name>.+)", re.IGNORECASE)
# Words that tell nobody which card it is.
_BRANDS = {"geforce", "radeon", "instinct", "tesla", "rtx", "rx", "generation"}
_COUNTS = (1, 2, 3, 4, 6, 8)


@dataclass(frozen=True)
class Machine:
    """A name and its GPUs; `host_bytes` of RAM, None where nobody knows. With `refusals` it cannot be judged."""

    name: str
    gpus: tuple[GpuRow, ...]
    host_bytes: int | None = None
    refusals: tuple[Refusal, ...] = ()


def read(on: tuple[str, ...], fleet: Path | None) -> Iterator[Machine]:
    """The machines behind `--on` and `--fleet`, in their order."""
    for argument in on:
        counted = _COUNTED.fullmatch(argument.strip())
        if counted:
            yield _cards(argument, int(counted["count"]), counted["name"])
        elif _closest(argument):
            yield _cards(argument, 1, argument)
        else:
            yield from (_host(target) for target in targets.read([argument], None, ()))
    if fleet is not None:
        yield from (_host(target) for target in targets.read([str(fleet)], None, ()))


def offers() -> Iterator[Iterator[Machine]]:
    """For each kind of card whose memory somebody looked at, one to eight of it in one machine."""
    for row in (row for row in catalog.load().gpus.rows if row.visible_mib):
        yield (Machine(f"{count}x {row.name}", (row,) * count) for count in _COUNTS)


def _cards(argument: str, count: int, name: str) -> Machine:
    try:
        if not count:
            raise GpuwrightError.of(
                f"machine {argument}", "has no card", "one or more", "Say how many: 2x4090."
            )
        return Machine(f"{count}x {_row(name).name}", (_row(name),) * count)
    except GpuwrightError as error:
        return Machine(argument, (), None, error.refusals)


def _row(name: str) -> GpuRow:
    """The one card that is meant. Raises GpuwrightError where it is none, or could be several."""
    closest = _closest(name)
    if len(closest) == 1:
        return closest[0]
    if not closest:
        remedy = 'Use words of its name: 4090, W7900, "H100 SXM".'
        raise GpuwrightError.of(f"card {name}", "the catalogue does not know it", "a known card", remedy)
    remedy = "Add a word that tells them."
    names = ", ".join(row.name for row in closest)
    raise GpuwrightError.of(f"card {name}", f"could be {names}", "one card", remedy)


def _closest(name: str) -> list[GpuRow]:
    """Cards with all words of `name` in theirs, and fewest others beside them."""
    wanted = _words(name)
    if not wanted:
        return []
    found = {row.name: row for row in catalog.load().gpus.rows if wanted <= _words(row.name)}
    fewest = min((len(_words(each) - _BRANDS) for each in found), default=0)
    return [row for each, row in found.items() if len(_words(each) - _BRANDS) == fewest]


def _words(name: str) -> set[str]:
    """Apart where people write together: RTX4090, 7900XTX, H100SXM."""
    apart = re.sub(r"(?<=[0-9])(?=[a-z])|(?<=[a-z]{3})(?=[0-9])", " ", name.lower())
    return {word for word in re.split(r"[^a-z0-9]+", apart) if word}


def _host(target: targets.Target) -> Machine:
    host = planned(target, {})
    if host.facts is None or host.plan is None:
        return Machine(host.host, (), None, host.refusals)
    return _planned(host.host, host.facts, host.plan)


def _planned(name: str, facts: HostFacts, plan: HostPlan) -> Machine:
    gpus = tuple(card.row for card in cards(facts, plan.gpus, catalog.load()))
    if gpus:
        shared = sum(gpu.visible_bytes for gpu in gpus if gpu.kind == "integrated")
        return Machine(name, gpus, max(0, facts.memory_bytes - shared))
    refusal = Refusal(f"host {name}", "has no GPU to compute with", "one or more", "Services run on its CPU.")
    return Machine(name, (), facts.memory_bytes, (refusal,))
