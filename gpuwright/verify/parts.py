"""The parts of a plan by their type, wherever they stand in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import TypeVar

from gpuwright.plan import HostPlan

T = TypeVar("T")


def planned(plan: HostPlan, kind: type[T]) -> list[T]:
    """Every value of type `kind` in the plan's slices, in order: what a new slice brings is judged as well."""
    return [value for value in _values(plan) if isinstance(value, kind)]


def _values(value: object) -> Iterator[object]:
    yield value
    if is_dataclass(value) and not isinstance(value, type):
        for part in fields(value):
            # `context` is what a file is rendered from, a slice that stands elsewhere in the plan.
            if part.name not in ("why", "context"):
                yield from _values(getattr(value, part.name))
    elif isinstance(value, tuple):
        for item in value:
            yield from _values(item)
