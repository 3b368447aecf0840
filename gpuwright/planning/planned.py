"""A target and what became of it: a plan, or every reason why there is none."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from gpuwright import catalog
from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.facts import HostFacts
from gpuwright.overrides import parse_data
from gpuwright.plan import HostPlan, plan_host
from gpuwright.plan.model import Json
from gpuwright.planning.targets import Target
from gpuwright.settings import FIELDS, read_settings
from gpuwright.sizing.declared import folder_of, shapes

_TEXTS = frozenset(key for key, field in FIELDS.items() if field.annotation is str)


@dataclass(frozen=True)
class Planned:
    """One host: exactly one of `plan` and `refusals` says something."""

    host: str
    facts: HostFacts | None
    plan: HostPlan | None
    refusals: tuple[Refusal, ...] = ()

    def to_json(self) -> dict[str, Json]:
        """The plan and its digest, or the refusals in their four parts."""
        if self.plan is not None:
            return {"host": self.host, "digest": self.plan.digest, "plan": self.plan.to_json()}
        return {"host": self.host, "refused": [dict(asdict(refusal)) for refusal in self.refusals]}


def planned(target: Target, overrides: Mapping[str, object]) -> Planned:
    """Plan a target; `overrides` are settings that win over its own."""
    if target.facts is None:
        return Planned(target.host, None, None, target.refusals)
    try:
        settings = read_settings({**target.data, **overrides})
        if foreign := tuple(_foreign(overrides)):
            raise GpuwrightError(*foreign)
        known = shapes(settings, folder_of(target.data, target.source))
    except GpuwrightError as error:
        return Planned(target.host, target.facts, None, error.refusals)
    plan = plan_host(target.facts, settings, catalog.load(), known)
    if isinstance(plan, HostPlan):
        return Planned(target.host, target.facts, plan)
    return Planned(target.host, target.facts, None, plan)


def overrides_of(arguments: Sequence[str]) -> dict[str, object]:
    """`KEY=VALUE` as --data reads it, but text where the setting is text: 580 is a branch, and 7.10 is not 7.1.

    Raises ValueError for an argument without a key.
    """
    overrides = parse_data(arguments)
    for argument in arguments:
        key, _, text = argument.partition("=")
        if key in _TEXTS and not isinstance(overrides[key], str):
            overrides[key] = text
    return overrides


def _foreign(overrides: Mapping[str, object]) -> Iterator[Refusal]:
    """What a host's data may well have, and what on a command line can only be meant as a setting."""
    for key in overrides:
        if key not in FIELDS:
            close = difflib.get_close_matches(key, FIELDS, n=1)
            hint = f"Did you mean {close[0]}?" if close else "docs/planning.md says where they are listed."
            yield Refusal(f"setting {key}", "no role has a setting of this name", "a known setting", hint)


def declared(data: Mapping[str, object]) -> dict[str, object]:
    """The settings among a host's data, without how it is reached."""
    return {key: value for key, value in data.items() if key in FIELDS}
