"""Every value of a plan with its reason and source, and whether that source has been checked."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass

from pydantic import BaseModel

from gpuwright.catalog import Catalog
from gpuwright.catalog.row import Row
from gpuwright.errors import GpuwrightError
from gpuwright.plan import HostPlan
from gpuwright.plan.model import Json


@dataclass(frozen=True)
class Leaf:
    """One value of a plan. `memory`: it rests on a row of the catalogue that nobody has checked yet."""

    path: str
    value: Json
    reason: str
    source: str
    memory: bool


def explained(plan: HostPlan, catalog: Catalog, below: str = "") -> tuple[Leaf, ...]:
    """The leaves of `plan` at and below a path, in its order. GpuwrightError for a path that it does not have."""
    unchecked = memory_sources(catalog)
    leaves = tuple(
        Leaf(path, value, why.reason, why.source, any(source in why.source for source in unchecked))
        for path, value in plan.leaves()
        for why in (plan.why[path],)
        if not below or path == below or path.startswith(f"{below}.")
    )
    if not leaves and not _is_empty_slice(plan, below):
        raise _no_such_path(plan, below)
    return leaves


def memory_sources(catalog: Catalog) -> frozenset[str]:
    """The sources of all rows that rest on memory."""
    return frozenset(row.source for row in _rows(catalog) if row.memory)


def _rows(value: object) -> Iterator[Row]:
    if isinstance(value, Row):
        yield value
    if isinstance(value, tuple):
        for item in value:
            yield from _rows(item)
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _rows(getattr(value, name))
    elif is_dataclass(value):
        for part in fields(value):
            yield from _rows(getattr(value, part.name))


def _is_empty_slice(plan: HostPlan, path: str) -> bool:
    """Whether `path` leads to a tuple that holds nothing: known, but without leaves."""
    value: object = plan
    for part in path.split("."):
        if isinstance(value, tuple) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        elif is_dataclass(value) and part in {each.name for each in fields(value)}:
            value = getattr(value, part)
        else:
            return False
    return value == () or is_dataclass(value)


def _no_such_path(plan: HostPlan, path: str) -> GpuwrightError:
    known = [leaf for leaf, _ in plan.leaves()]
    prefixes = {".".join(leaf.split(".")[:depth]) for leaf in known for depth in range(1, 5)}
    close = difflib.get_close_matches(path, sorted(prefixes), n=3)
    slices = ", ".join(part.name for part in fields(plan) if part.name != "why")
    hint = f"Did you mean {' or '.join(close)}?" if close else f"A plan has {slices}."
    return GpuwrightError.of(f"path {path}", "the plan has no such value", "a path of the plan", hint)
