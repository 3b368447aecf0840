"""A target and what became of it: a plan, or every reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from gpuwright import catalog
from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.facts import HostFacts
from gpuwright.plan import HostPlan, plan_host
from gpuwright.plan.model import Json
from gpuwright.planning.targets import Target
from gpuwright.settings import ROLE_SETTINGS, read_settings


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
    except GpuwrightError as error:
        return Planned(target.host, target.facts, None, error.refusals)
    plan = plan_host(target.facts, settings, catalog.load())
    if isinstance(plan, HostPlan):
        return Planned(target.host, target.facts, plan)
    return Planned(target.host, target.facts, None, plan)


def declared(data: Mapping[str, object]) -> dict[str, object]:
    """The settings among a host's data, without how it is reached."""
    known = {key for model in ROLE_SETTINGS.values() for key in model.model_fields}
    return {key: value for key, value in data.items() if key in known}
