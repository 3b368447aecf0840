"""Which branches and flavours of NVIDIA's driver all cards and settings allow, or why none does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gpuwright.catalog import Catalog
from gpuwright.catalog.nvidia_driver import ArchitectureRow, Modules
from gpuwright.errors import Refusal
from gpuwright.plan.gpu_model import Gpu
from gpuwright.plan.notes import Notes
from gpuwright.settings.gpus import NvidiaDriverSettings

FLAVOURS: tuple[Modules, ...] = ("open", "proprietary")
AUTO = "auto"
NO_END = float("inf")


@dataclass(frozen=True)
class Limit:
    """What one card allows."""

    card: Gpu
    row: ArchitectureRow


@dataclass(frozen=True)
class Window:
    """Branches `first` to `last` (None: no end) in one of `modules`.

    `limits` are of each card; `declared`: a setting names the branch.
    """

    first: int
    last: int | None
    declared: bool
    modules: tuple[Modules, ...]
    limits: tuple[Limit, ...]

    @property
    def newest(self) -> Limit:
        """The card that sets the first branch."""
        return max(self.limits, key=lambda limit: limit.row.first)

    @property
    def oldest(self) -> Limit:
        """The card that sets the last branch."""
        return min(self.limits, key=_last)

    def has(self, branch: int) -> bool:
        """Whether all cards run with the branch, and no setting asks for another."""
        return self.first <= branch and (self.last is None or branch <= self.last)

    def __str__(self) -> str:
        if self.last is None:
            return f"branch {self.first} or newer"
        return f"branch {self.first}" + (f" to {self.last}" if self.last != self.first else "")


def allowed(
    cards: tuple[Gpu, ...], ours: NvidiaDriverSettings, catalog: Catalog, notes: Notes
) -> Window | None:
    """The window of all cards; None after a refusal for each card or setting that stands in the way."""
    limits = [Limit(card, row) for card in cards if (row := catalog.nvidia.architecture(card.arch))]
    refusals = [
        Refusal(
            named(card),
            "no rule says which driver runs it",
            "an architecture that the catalogue knows",
            "Add its row with a source to gpuwright/catalog/nvidia.toml, or remove the card.",
        )
        for card in cards
        if catalog.nvidia.architecture(card.arch) is None
    ]
    declared = None if ours.nvidia_driver_branch == AUTO else int(ours.nvidia_driver_branch)
    refusals += _unknown_branch(declared, ours, catalog)
    for limit in limits:
        refusals += [*_wrong_branch(limit, declared), *_wrong_modules(limit, ours)]
    refusals += _at_odds(limits) if limits and not refusals else []
    if refusals:
        notes.refusals += refusals
        return None
    first = max(limit.row.first for limit in limits)
    last = min(_last(limit) for limit in limits)
    return Window(
        first=declared or first,
        last=declared or (None if last == NO_END else int(last)),
        declared=declared is not None,
        modules=tuple(flavour for flavour in FLAVOURS if _fits(flavour, limits, ours)),
        limits=tuple(limits),
    )


def named(card: Gpu) -> str:
    """How refusals call a card: gpu 0000:41:00.0 (Tesla P40, pascal)."""
    return f"gpu {card.address} ({card.name}, {card.arch})"


def _last(limit: Limit) -> float:
    return limit.row.last or NO_END


def _fits(flavour: Modules, limits: list[Limit], ours: NvidiaDriverSettings) -> bool:
    bars = {"open": "no", "proprietary": "required"}
    asked = ours.nvidia_driver_modules in (AUTO, flavour)
    return asked and all(limit.row.open != bars[flavour] for limit in limits)


def _unknown_branch(declared: int | None, ours: NvidiaDriverSettings, catalog: Catalog) -> Iterator[Refusal]:
    known = ", ".join(str(row.branch) for row in catalog.nvidia.branches)
    if declared is None:
        return
    row = catalog.nvidia.branch(declared)
    if row is None:
        yield Refusal(
            "setting nvidia_driver_branch",
            f"branch {declared} is not in the catalogue",
            f"one of {known}",
            'Correct it, or set nvidia_driver_branch = "auto".',
        )
    elif not row.proprietary and ours.nvidia_driver_modules == "proprietary":
        yield Refusal(
            "setting nvidia_driver_modules",
            f"proprietary, and branch {declared} has no proprietary modules",
            "the open modules, or an older branch",
            'Set nvidia_driver_modules = "auto", or an older nvidia_driver_branch.',
        )


def _wrong_branch(limit: Limit, declared: int | None) -> Iterator[Refusal]:
    first, last = limit.row.first, limit.row.last
    if declared is not None and declared < first:
        yield Refusal(
            named(limit.card),
            f"branch {declared} is declared, and the first that drives it is {first}",
            f"branch {first} or newer",
            'Set nvidia_driver_branch = "auto", or remove the card.',
        )
    if declared is not None and last is not None and declared > last:
        yield Refusal(
            named(limit.card),
            f"branch {declared} is declared, and the last that drives it is {last}",
            f"branch {last} or older",
            f'Set nvidia_driver_branch = "{last}" or "auto", or remove the card.',
        )


def _wrong_modules(limit: Limit, ours: NvidiaDriverSettings) -> Iterator[Refusal]:
    if ours.nvidia_driver_modules == "open" and limit.row.open == "no":
        yield Refusal(
            named(limit.card),
            "open kernel modules do not support it",
            f"proprietary modules, which end with branch {limit.row.last}",
            'Set nvidia_driver_modules = "proprietary" or "auto", or remove the card.',
        )
    if ours.nvidia_driver_modules == "proprietary" and limit.row.open == "required":
        yield Refusal(
            named(limit.card),
            "proprietary kernel modules do not support it",
            "open modules",
            'Set nvidia_driver_modules = "open" or "auto", or remove the card.',
        )


def _at_odds(limits: list[Limit]) -> Iterator[Refusal]:
    """Cards of one host that no single driver runs."""
    newest, oldest = max(limits, key=lambda limit: limit.row.first), min(limits, key=_last)
    closed = next((limit for limit in limits if limit.row.open == "no"), None)
    opened = next((limit for limit in limits if limit.row.open == "required"), None)
    remedy = "Remove one of the two, or leave it out of ours (interconnect_display_gpus)."
    if _last(oldest) < newest.row.first:
        yield Refusal(
            named(oldest.card),
            f"its last branch is {oldest.row.last}, and {named(newest.card)} needs {newest.row.first} or newer",
            "cards that one driver runs",
            remedy,
        )
    elif closed and opened:
        yield Refusal(
            named(closed.card),
            f"open kernel modules do not support it, and {named(opened.card)} runs with no others",
            "cards that one flavour of the modules runs",
            remedy,
        )
