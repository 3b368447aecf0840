"""apt pins that come with repositories."""

from __future__ import annotations

from collections.abc import Iterable

from gpuwright.catalog.pins import PinRow
from gpuwright.plan.model import AptPin, AptRepository
from gpuwright.plan.notes import Notes


def pins_for(
    repositories: Iterable[AptRepository], rows: Iterable[PinRow], path: str, notes: Notes
) -> tuple[AptPin, ...]:
    """One pin for each row that a repository needs; `path` is where they will be in the plan (drivers.0.pins)."""
    uris = tuple(repository.uri for repository in repositories)
    pins: tuple[AptPin, ...] = ()
    for row in rows:
        if any(uri.startswith(row.uri) for uri in uris):
            reason = f"one source for what belongs together: distributions use the same names ({row.clash})"
            notes.why(f"{path}.{len(pins)}", reason, row.source)
            pins += (AptPin(row.name, row.packages, row.pin, row.priority),)
    return pins
