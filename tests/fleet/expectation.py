"""expect.toml: what a person who read the sources says of a plan, before there is one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ConfigDict

from gpuwright.errors import Refusal
from gpuwright.plan import HostPlan


class Written(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Refused(Written):
    """A refusal whose subject has a match of `subject` and whose text has one of every pattern in `says`."""

    subject: str
    says: tuple[str, ...] = ()

    def fits(self, refusal: Refusal) -> bool:
        return bool(re.search(self.subject, refusal.subject)) and all(
            re.search(pattern, str(refusal)) for pattern in self.says
        )


class Absent(Written):
    paths: tuple[str, ...] = ()


class Expectation(Written):
    """Values by path; patterns of which some value below a path matches (`contains`) or none (`lacks`) in full;
    paths below which there is nothing. The path "" is the whole plan. Or refusals, and then a plan is a failure.
    """

    leaves: dict[str, str | bool | int] = {}
    contains: dict[str, tuple[str, ...]] = {}
    lacks: dict[str, tuple[str, ...]] = {}
    absent: Absent = Absent()
    refused: tuple[Refused, ...] = ()

    def disagreements(self, plan: HostPlan | tuple[Refusal, ...]) -> list[str]:
        """All that the plan, or its refusals, have otherwise; one sentence each."""
        if isinstance(plan, HostPlan):
            return (
                list(self._of_plan(plan)) if not self.refused else ["a plan was made for a refused machine"]
            )
        if not self.refused:
            return [f"refused: {refusal}" for refusal in plan]
        return list(self._of_refusals(plan))

    def _of_plan(self, plan: HostPlan) -> Iterator[str]:
        leaves = dict(plan.leaves())
        for path, value in self.leaves.items():
            if leaves.get(path) != value:
                yield f"{path} is {leaves.get(path)!r}, not {value!r}"
        for path, patterns in self.contains.items():
            values = _below(leaves, path)
            for pattern in patterns:
                if not any(re.fullmatch(pattern, value) for value in values):
                    yield f"{path or 'the plan'} has no {pattern!r} in {values if path else '...'}"
        for path, patterns in self.lacks.items():
            for pattern in patterns:
                for value in _below(leaves, path):
                    if re.fullmatch(pattern, value):
                        yield f"{path or 'the plan'} has {value!r}"
        for path in self.absent.paths:
            if _below(leaves, path):
                yield f"{path} has {_below(leaves, path)}"

    def _of_refusals(self, refusals: tuple[Refusal, ...]) -> Iterator[str]:
        for expected in self.refused:
            if not any(expected.fits(refusal) for refusal in refusals):
                yield f"no refusal about {expected.subject!r} says {expected.says} in {list(map(str, refusals))}"
        for refusal in refusals:
            if not any(re.search(expected.subject, refusal.subject) for expected in self.refused):
                yield f"also refused: {refusal}"


def _below(leaves: Mapping[str, object], path: str) -> list[str]:
    return [
        str(value)
        for leaf, value in leaves.items()
        if not path or leaf == path or leaf.startswith(f"{path}.")
    ]
