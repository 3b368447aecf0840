"""Two plans, value by value."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from gpuwright.plan import HostPlan, Reason
from gpuwright.plan.model import Json


@dataclass(frozen=True)
class Side:
    """A value in one of two plans, with its reason."""

    value: Json
    why: Reason


@dataclass(frozen=True)
class Difference:
    """A path whose values differ; None on the side that has no such value."""

    path: str
    first: Side | None
    second: Side | None

    def to_json(self) -> dict[str, Json]:
        """Both sides with their reasons."""
        return {
            "path": self.path,
            **{name: _side(side) for name, side in (("first", self.first), ("second", self.second))},
        }


def compare(first: HostPlan, second: HostPlan) -> tuple[Difference, ...]:
    """Where two plans differ, in the order of the first, then what only the second has."""
    sides = (_sides(first), _sides(second))
    return tuple(
        Difference(path, sides[0].get(path), sides[1].get(path))
        for path in dict.fromkeys([*sides[0], *sides[1]])
        if _value(sides[0].get(path)) != _value(sides[1].get(path))
    )


def _sides(plan: HostPlan) -> dict[str, Side]:
    return {path: Side(value, plan.why[path]) for path, value in plan.leaves()}


def _value(side: Side | None) -> tuple[str, Json] | None:
    # The type too: True == 1 in Python, and a plan means something by each.
    return None if side is None else (type(side.value).__name__, side.value)


def _side(side: Side | None) -> dict[str, Json] | None:
    return None if side is None else {"value": side.value, **asdict(side.why)}
