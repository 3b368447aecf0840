"""NCCL's variables for the whole system, persistence and power limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from gpuwright import catalog
from gpuwright.errors import Refusal
from gpuwright.facts import HostFacts, PciDevice
from gpuwright.facts.model import Nic
from gpuwright.plan.collectives import plan_collectives
from gpuwright.plan.gpu_model import InterconnectPlan, PowerPlan
from gpuwright.plan.gpus import plan_gpus
from gpuwright.plan.notes import Notes
from gpuwright.plan.power import plan_power
from gpuwright.settings import read_settings
from tests.synthetic import host

CATALOG = catalog.load()
PAIR = host("ubuntu 24.04", ["GeForce RTX 4090"] * 2)


def variables(facts: HostFacts, p2p: str = "fabric", nics: Sequence[Nic] | None = None) -> dict[str, str]:
    notes, settings = Notes(), read_settings({})
    if nics is not None:
        facts = replace(facts, nics=tuple(nics))
    gpus = plan_gpus(facts, settings, CATALOG, notes)
    interconnect = InterconnectPlan("pcie", "leave", (), p2p)
    return dict(plan_collectives(facts, settings, CATALOG, gpus, interconnect, notes).variables)


def power(facts: HostFacts, **data: object) -> tuple[PowerPlan, list[Refusal]]:
    notes, settings = Notes(), read_settings(data)
    gpus = plan_gpus(facts, settings, CATALOG, notes)
    return plan_power(facts, settings, CATALOG, gpus, (), notes), notes.refusals


@pytest.mark.parametrize("cards", [[], ["GeForce RTX 4090"], ["Radeon PRO W7900", "GeForce RTX 4090"]])
def test_nothing_without_two_gpus_of_one_vendor(cards: list[str]) -> None:
    assert variables(host("ubuntu 24.04", cards), "off") == {}


@pytest.mark.parametrize("p2p, disabled", [("off", "1"), ("to-be-proven", "1"), ("fabric", None)])
def test_p2p_is_off_until_it_is_proven(p2p: str, disabled: str | None) -> None:
    assert variables(PAIR, p2p).get("NCCL_P2P_DISABLE") == disabled


@pytest.mark.parametrize(
    "nics, value",
    [
        ([Nic("eth0", default_route=True), Nic("eth1")], "=eth0"),
        ([Nic("bond0", default_route=True), Nic("docker0", default_route=True)], "=bond0"),
        ([Nic("ens2", default_route=True), Nic("ens1", default_route=True)], "=ens1,ens2"),
        ([Nic("eth0")], "^docker,veth,virbr,br-,lo"),
        ([Nic("", rdma="mlx5_0")], None),
        ([], None),
    ],
)
def test_interface_of_the_default_route(nics: list[Nic], value: str | None) -> None:
    assert variables(PAIR, nics=nics).get("NCCL_SOCKET_IFNAME") == value


def test_rdma_devices_by_whole_name_in_natural_order() -> None:
    nics = [Nic(f"ib{n}", rdma=f"mlx5_{n}") for n in (10, 2, 0)]
    assert variables(PAIR, nics=nics)["NCCL_IB_HCA"] == "=mlx5_0,mlx5_2,mlx5_10"
    assert "NCCL_IB_HCA" not in variables(PAIR)


def test_narrow_rdma_devices_are_left_out() -> None:
    wide = PciDevice("0000:90:00.0", "020700", "15b3", "1021", link_width_max=16)
    narrow = PciDevice("0000:91:00.0", "020700", "15b3", "1021", link_width_max=2)
    facts = replace(PAIR, pci=(*PAIR.pci, wide, narrow))
    nics = [Nic("ib0", narrow.address, rdma="mlx5_0"), Nic("ib1", wide.address, rdma="mlx5_1")]
    assert variables(facts, nics=nics)["NCCL_IB_HCA"] == "=mlx5_1"


def test_only_variables_that_nvidia_wants_in_a_configuration() -> None:
    """The one debugging variable is P2P's, for as long as nothing is proven."""
    nics = [Nic("eth0", default_route=True), Nic("ib0", rdma="mlx5_0")]
    assert set(variables(PAIR, "off", nics)) == {"NCCL_SOCKET_IFNAME", "NCCL_IB_HCA", "NCCL_P2P_DISABLE"}


@pytest.mark.parametrize(
    "facts, declared, persistence",
    [
        (PAIR, True, True),
        (PAIR, False, False),
        (host("ubuntu 24.04", ["Radeon PRO W7900"]), True, False),
        (host("ubuntu 24.04"), True, False),
        (replace(PAIR, virtualisation="docker"), True, False),
    ],
)
def test_persistence_is_for_nvidia_drivers_of_our_own(
    facts: HostFacts, declared: bool, persistence: bool
) -> None:
    assert power(facts, power_persistence=declared)[0].persistence is persistence


def test_limits_by_name_and_by_address_which_holds_over_it() -> None:
    one, other = (device.address for device in PAIR.gpus)
    plan, refusals = power(PAIR, power_limit_watts={other: 250, "GeForce RTX 4090": 300})
    assert not refusals
    assert plan.limits_watts == ((one, 300), (other, 250))


@pytest.mark.parametrize(
    "key, watts, says",
    [
        ("GeForce RTX 5090", 300, "GeForce RTX 4090"),
        ("0000:99:00.0", 300, "GeForce RTX 4090"),
        ("GeForce RTX 4090", 451, "at most 450 W"),
        ("GeForce RTX 4090", 0, "at most 450 W"),
        ("GeForce RTX 4090", -1, "at most 450 W"),
    ],
)
def test_limits_that_no_card_here_can_have_are_refused(key: str, watts: int, says: str) -> None:
    _, (refusal,) = power(PAIR, power_limit_watts={key: watts})
    assert key in refusal.subject and says in str(refusal)


def test_a_container_sets_no_limits() -> None:
    _, (refusal,) = power(replace(PAIR, virtualisation="lxc"), power_limit_watts={"GeForce RTX 4090": 300})
    assert "container" in refusal.observed
