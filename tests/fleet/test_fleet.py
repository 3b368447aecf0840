"""Every machine below: its facts give the plan in plan.json, and what expect.toml says of it by hand."""

from __future__ import annotations

import json

import pytest

from gpuwright import catalog
from gpuwright.facts import HostFacts
from gpuwright.plan import HostPlan, plan_host
from tests.fleet.compose import composed
from tests.fleet.conftest import FleetMachine
from tests.plan_apply import applied

# serving.md C1: the variables that NVIDIA calls system configuration; all others are for debugging.
SYSTEM_VARIABLES = {
    "NCCL_SOCKET_IFNAME",
    "NCCL_IB_HCA",
    "NCCL_IB_GID_INDEX",
    "NCCL_IB_TIMEOUT",
    "NCCL_IB_RETRY_CNT",
    "NCCL_IB_SL",
    "NCCL_IB_TC",
    "NCCL_CROSS_NIC",
    "NCCL_SOCKET_NTHREADS",
    "NCCL_NSOCKS_PERTHREAD",
    "NCCL_TOPO_FILE",
    "NCCL_DEBUG",
    "NCCL_IGNORE_CPU_AFFINITY",
    "NCCL_NET",
}


def test_machine_says_where_it_comes_from(machine: FleetMachine) -> None:
    assert machine.about["provenance"] in ("recorded", "composed")
    assert machine.about["source"]
    assert machine.about["provenance"] == "composed" or "compose" not in machine.about


def test_composed_facts_are_what_their_composition_gives() -> None:
    stale = [
        where.name for where, facts in composed() if (where / "facts.json").read_text() != facts.to_json()
    ]
    assert not stale, "run: python -m tests.fleet.compose"


def test_facts_hang_together(machine: FleetMachine) -> None:
    """As sysfs would have it: one function an address, in order; above a GPU bridges; a NIC's function is there."""
    functions = {device.address: device for device in machine.facts.pci}
    assert list(functions) == sorted(device.address for device in machine.facts.pci)
    for device in machine.facts.gpus:
        assert all(functions[parent].class_code == "060400" for parent in device.parents)
    assert all(nic.pci in functions for nic in machine.facts.nics if nic.pci)


def test_plan_is_what_was_expected_by_hand(machine: FleetMachine) -> None:
    assert not machine.expect.disagreements(machine.plan())


def test_plan_is_golden(machine: FleetMachine, request: pytest.FixtureRequest) -> None:
    plan = machine.plan()
    content = plan.to_json() if isinstance(plan, HostPlan) else [str(refusal) for refusal in plan]
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    golden = machine.directory / "plan.json"
    if request.config.getoption("--update-golden"):
        golden.write_text(text)
    assert text == golden.read_text(), (
        "the plan changed; if that is right: pytest tests/fleet --update-golden"
    )


def test_every_leaf_has_a_reason_and_a_source(machine: FleetMachine) -> None:
    plan = machine.plan()
    if not isinstance(plan, HostPlan):
        pytest.skip("refused machines have no leaves")
    assert set(plan.why) == {path for path, _ in plan.leaves()}
    assert all(reason.reason and reason.source for reason in plan.why.values())


def test_no_driver_mixes_its_sources(machine: FleetMachine) -> None:
    plan = machine.plan()
    if not isinstance(plan, HostPlan):
        pytest.skip("refused machines have no drivers")
    assert len({driver.vendor for driver in plan.drivers}) == len(plan.drivers)
    for driver in plan.drivers:
        foreign = {repository.uri for repository in driver.repositories}
        assert bool(foreign) == (driver.source in ("nvidia", "amd")), driver


def test_collectives_are_system_configuration_only(machine: FleetMachine) -> None:
    """But for the one that keeps P2P over PCIe off until it was proven (DESIGN 5; peers.md 10)."""
    plan = machine.plan()
    if not isinstance(plan, HostPlan):
        pytest.skip("refused machines have no variables")
    variables = dict(plan.collectives.variables)
    others = {name: value for name, value in variables.items() if name not in SYSTEM_VARIABLES}
    unproven = bool(variables) and plan.interconnect.p2p != "fabric"
    assert others == ({"NCCL_P2P_DISABLE": "1"} if unproven else {})


def test_bridges_that_pci_does_not_show_make_no_difference(fleet: tuple[FleetMachine, ...]) -> None:
    plans = {
        machine.name: machine.plan() for machine in fleet if machine.name.startswith("ubuntu2404-4x3090")
    }
    assert set(plans) == {"ubuntu2404-4x3090", "ubuntu2404-4x3090-nvlink"}
    first, second = plans.values()
    assert first == second


def test_plan_is_a_fixed_point_on_a_recorded_host(machine: FleetMachine) -> None:
    after = machine.directory / "facts_after.json"
    if not after.exists():
        pytest.skip("no facts from after a deploy")
    second = plan_host(HostFacts.from_json(after.read_text()), machine.settings, catalog.load())
    first = machine.plan()
    assert isinstance(first, HostPlan) and isinstance(second, HostPlan)
    assert (first, first.digest) == (second, second.digest)


def test_plan_is_a_fixed_point_where_a_deploy_was_imagined(machine: FleetMachine) -> None:
    plan = machine.plan()
    if not isinstance(plan, HostPlan):
        pytest.skip("nothing is deployed on a refused machine")
    second = plan_host(applied(machine.facts, plan), machine.settings, catalog.load())
    assert isinstance(second, HostPlan), second
    assert plan.to_json() == second.to_json()
