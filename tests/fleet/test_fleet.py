"""Every machine below: its facts give the plan in plan.json, and what expect.toml says of it by hand."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpuwright import catalog
from gpuwright.errors import Refusal
from gpuwright.facts import HostFacts
from gpuwright.plan import HostPlan, plan_host
from gpuwright.settings import HostSettings, read_settings

FLEET = sorted(path.parent for path in Path(__file__).parent.glob("*/machine.toml"))


@dataclass(frozen=True)
class Machine:
    directory: Path
    about: dict[str, object]
    expect: dict[str, object]
    facts: HostFacts
    settings: HostSettings

    def plan(self) -> HostPlan | tuple[Refusal, ...]:
        return plan_host(self.facts, self.settings, catalog.load())


@pytest.fixture(params=FLEET, ids=[path.name for path in FLEET])
def machine(request: pytest.FixtureRequest) -> Machine:
    directory: Path = request.param
    about = tomllib.loads((directory / "machine.toml").read_text())
    return Machine(
        directory,
        about,
        tomllib.loads((directory / "expect.toml").read_text()),
        HostFacts.from_json((directory / "facts.json").read_text()),
        read_settings(about["settings"]),
    )


def test_machine_says_where_it_comes_from(machine: Machine) -> None:
    assert machine.about["provenance"] in ("recorded", "composed")
    assert machine.about["source"]


def test_plan_is_what_was_expected_by_hand(machine: Machine) -> None:
    plan = machine.plan()
    if "refused" in machine.expect:
        assert isinstance(plan, tuple), "a plan was made for a machine that must be refused"
        assert sorted(refusal.subject for refusal in plan) == sorted(machine.expect["refused"])
        text = " ".join(str(refusal) for refusal in plan)
        assert all(remedy in text for remedy in machine.expect.get("remedies", []))
        return
    assert isinstance(plan, HostPlan), plan
    leaves = dict(plan.leaves())
    wanted = machine.expect["leaves"]
    assert {path: leaves.get(path) for path in wanted} == wanted
    for path in machine.expect["absent"]["paths"]:
        assert not [leaf for leaf in leaves if leaf == path or leaf.startswith(f"{path}.")]


def test_plan_is_golden(machine: Machine, request: pytest.FixtureRequest) -> None:
    plan = machine.plan()
    content = plan.to_json() if isinstance(plan, HostPlan) else [str(refusal) for refusal in plan]
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    golden = machine.directory / "plan.json"
    if request.config.getoption("--update-golden"):
        golden.write_text(text)
    assert text == golden.read_text(), (
        "the plan changed; if that is right: pytest tests/fleet --update-golden"
    )


def test_every_leaf_has_a_reason_and_a_source(machine: Machine) -> None:
    plan = machine.plan()
    if not isinstance(plan, HostPlan):
        pytest.skip("refused machines have no leaves")
    assert set(plan.why) == {path for path, _ in plan.leaves()}
    assert all(reason.reason and reason.source for reason in plan.why.values())


def test_plan_is_a_fixed_point(machine: Machine) -> None:
    after = machine.directory / "facts_after.json"
    if not after.exists():
        pytest.skip("composed machines have no facts from after a deploy")
    second = plan_host(HostFacts.from_json(after.read_text()), machine.settings, catalog.load())
    first = machine.plan()
    assert isinstance(first, HostPlan) and isinstance(second, HostPlan)
    assert (first, first.digest) == (second, second.digest)
