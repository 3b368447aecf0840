"""How GPUs may reach each other: what the bus shows, what it does not, and what is left alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from gpuwright import catalog
from gpuwright.errors import Refusal
from gpuwright.facts import HostFacts, PciDevice
from gpuwright.plan.gpu_model import InterconnectPlan
from gpuwright.plan.gpus import plan_gpus
from gpuwright.plan.interconnect import plan_interconnect
from gpuwright.plan.iommu import iommu_mode
from gpuwright.plan.kernel import plan_kernel
from gpuwright.plan.notes import Notes
from gpuwright.plan.peers import cards as peer_cards
from gpuwright.plan.topology import bridges_between
from gpuwright.settings import read_settings
from tests.synthetic import bridge, gpu, gpu_row, host, in_slots

CATALOG = catalog.load()
W7900 = "Radeon PRO W7900"
SWITCH = PciDevice("0000:f0:00.0", "068000", "10de", "22a3")


def planned(facts: HostFacts, **settings: object) -> tuple[InterconnectPlan, list[Refusal], Notes]:
    notes = Notes()
    read = read_settings(settings)
    gpus = plan_gpus(facts, read, CATALOG, notes)
    kernel = plan_kernel(facts, read, CATALOG, gpus, notes)
    return plan_interconnect(facts, read, CATALOG, gpus, (), kernel, notes), notes.refusals, notes


def interconnect(facts: HostFacts, **settings: object) -> InterconnectPlan:
    plan, refusals, _ = planned(facts, **settings)
    assert not refusals, refusals
    return plan


def below_a_switch(names: Sequence[str], acs: bool | None = True) -> tuple[PciDevice, ...]:
    """One root port, one switch, a card below each of its ports, the ports with ACS."""
    up = ("0000:30:01.0", "0000:31:00.0")
    devices = [bridge(up[0]), bridge(up[1], acs=False, parents=up[:1])]
    for index, name in enumerate(names):
        port = f"0000:32:{index:02x}.0"
        devices += [
            bridge(port, acs=acs, parents=up),
            gpu(gpu_row(name), f"0000:{64 + index:02x}:00.0", (*up, port)),
        ]
    return tuple(devices)


def on(devices: Sequence[PciDevice], os: str = "ubuntu 24.04") -> HostFacts:
    return replace(host(os), pci=tuple(devices))


@pytest.mark.parametrize(
    "cards, extra, fabric, p2p",
    [
        ([], (), "none", "off"),
        (["L40S"], (), "none", "off"),
        ([W7900, "GeForce RTX 4090"], (), "none", "off"),
        (["GeForce RTX 4090"] * 2, (), "pcie", "off"),
        (["L40S"] * 2, (), "pcie", "to-be-proven"),
        ([W7900] * 2, (), "pcie", "to-be-proven"),
        (["H100 SXM"] * 8, (SWITCH,), "nvswitch", "fabric"),
        (["H100 SXM"] * 4, (), "nvlink", "fabric"),
        (["Tesla V100 SXM2 32GB"] * 4, (), "nvlink", "fabric"),
        (["B200"] * 8, (), "nvswitch", "fabric"),
        (["Instinct MI300X"] * 8, (), "xgmi", "fabric"),
        (["Tesla P40", "GeForce RTX 3090"], (), "pcie", "off"),
        ([W7900] * 2 + ["GeForce RTX 4090"] * 2, (), "pcie", "to-be-proven"),
    ],
)
def test_fabric_and_p2p_follow_from_the_cards(
    cards: list[str], extra: tuple[PciDevice, ...], fabric: str, p2p: str
) -> None:
    plan = interconnect(on((*in_slots(cards), *extra)))
    assert (plan.fabric, plan.p2p) == (fabric, p2p)


def test_an_nvlink_bridge_is_not_seen_and_the_reason_says_so() -> None:
    plan, _, notes = planned(host("ubuntu 24.04", ["GeForce RTX 3090"] * 4))
    assert (plan.fabric, plan.p2p, plan.acs_off) == ("pcie", "to-be-proven", ())
    why = notes.explain(["interconnect.fabric", "interconnect.p2p"])
    assert "bridge" in why["interconnect.fabric"].reason and "bridge" in why["interconnect.p2p"].reason


@pytest.mark.parametrize("cards, p2p", [([W7900] * 2, "off"), (["Instinct MI300X"] * 8, "fabric")])
def test_over_pcie_is_what_off_means(cards: list[str], p2p: str) -> None:
    assert interconnect(host("ubuntu 24.04", cards), interconnect_p2p="off").p2p == p2p


def test_amd_over_pcie_needs_the_kernel() -> None:
    assert interconnect(host("debian 13", [W7900] * 2)).p2p == "off"
    built = {"kernel_flavour": "built", "kernel_repository": "kernels/debian13"}
    assert interconnect(host("debian 13", [W7900] * 2), **built).p2p == "to-be-proven"


def test_wanted_where_the_vendor_forbids_it_is_refused() -> None:
    _, (refusal,), _ = planned(host("ubuntu 24.04", ["GeForce RTX 4090"] * 2), interconnect_p2p="wanted")
    assert "GeForce RTX 4090" in refusal.observed and 'interconnect_p2p = "auto"' in refusal.remedy


@pytest.mark.parametrize(
    "vendor, family, p2p",
    [("AuthenticAMD", 25, "to-be-proven"), ("AuthenticAMD", 21, "off"), ("GenuineIntel", 6, "to-be-proven"),
     ("ARM", 8, "off"), ("", None, "to-be-proven")],
)  # fmt: skip
def test_processors_that_route_no_p2p_leave_it_to_switches(vendor: str, family: int | None, p2p: str) -> None:
    apart = replace(host("ubuntu 24.04", [W7900] * 2), cpu_vendor=vendor, cpu_family=family)
    assert interconnect(apart).p2p == p2p
    together = replace(on(below_a_switch([W7900] * 2)), cpu_vendor=vendor, cpu_family=family)
    assert interconnect(together).p2p == "to-be-proven"


@pytest.mark.parametrize(
    "os, cards, settings, mode",
    [
        ("ubuntu 24.04", [W7900] * 2, {}, "remapping"),
        ("debian 13", [W7900] * 2, {}, "passthrough"),
        ("ubuntu 24.04", [W7900] * 2, {"interconnect_p2p": "off"}, "passthrough"),
        ("ubuntu 24.04", [W7900], {}, "passthrough"),
        ("ubuntu 24.04", ["Instinct MI300X"] * 8, {}, "passthrough"),
        ("ubuntu 24.04", ["Instinct MI300X"] * 8, {"interconnect_iommu": "leave"}, "leave"),
        ("ubuntu 24.04", ["GeForce RTX 4090"] * 2, {}, "leave"),
        ("ubuntu 24.04", ["GeForce RTX 4090"] * 2, {"interconnect_iommu": "passthrough"}, "passthrough"),
        ("ubuntu 24.04", [W7900] * 2, {"interconnect_isolation": True}, "leave"),
    ],
)
def test_iommu_mode(os: str, cards: list[str], settings: dict[str, object], mode: str) -> None:
    assert interconnect(host(os, cards), **settings).iommu == mode


@pytest.mark.parametrize("cards", [[], ["Strix Halo (Radeon 8050S / 8060S)"]])
def test_nobody_speaks_of_nvidia_where_there_is_none(cards: list[str]) -> None:
    facts, read = host("ubuntu 24.04", cards), read_settings({})
    gpus = plan_gpus(facts, read, CATALOG, Notes())
    mode, why = iommu_mode(facts, read, peer_cards(facts, gpus, CATALOG), amd_p2p=False)
    assert mode == "leave" and "NVIDIA" not in why.reason + why.source


def test_acs_goes_only_below_the_switch_that_two_gpus_share() -> None:
    plan = interconnect(on(below_a_switch(["L40S"] * 3)))
    assert plan.acs_off == ("0000:32:00.0", "0000:32:01.0", "0000:32:02.0")


def test_acs_goes_up_to_the_root_ports_where_nothing_is_shared() -> None:
    assert interconnect(host("ubuntu 24.04", ["L40S"] * 2)).acs_off == ("0000:10:01.0", "0000:20:01.0")


def test_with_a_remapping_iommu_transfers_have_to_go_up_to_it() -> None:
    assert interconnect(host("ubuntu 24.04", [W7900] * 2)).acs_off == ()
    assert interconnect(on(below_a_switch([W7900] * 2))).acs_off == ("0000:32:00.0", "0000:32:01.0")


@pytest.mark.parametrize("acs", [False, None])
def test_a_bridge_without_acs_or_that_could_not_be_read_is_not_written_to(acs: bool | None) -> None:
    assert interconnect(on(below_a_switch(["L40S"] * 2, acs))).acs_off == ()


@pytest.mark.parametrize(
    "cards", [["L40S"], ["GeForce RTX 4090"] * 2, ["H100 SXM"] * 8, ["GeForce RTX 3090"] * 2]
)
def test_acs_stays_where_no_transfer_between_two_gpus_takes_that_way(cards: list[str]) -> None:
    assert interconnect(on((*below_a_switch(cards), SWITCH))).acs_off == ()


def test_acs_stays_where_guests_may_be_behind_it() -> None:
    facts = on(below_a_switch(["L40S"] * 3))
    assert interconnect(facts, interconnect_isolation=True).acs_off == ()
    passed = (replace(device, passthrough=device.address == "0000:42:00.0") for device in facts.pci)
    assert interconnect(replace(facts, pci=tuple(passed))).acs_off == ()
    for word in ("kvm", "unknown", "lxc"):
        assert interconnect(replace(facts, virtualisation=word)).acs_off == ()


def test_display_and_passthrough_cards_are_no_peers() -> None:
    facts = host("ubuntu 24.04", ["L40S"] * 2)
    mine = interconnect(facts, interconnect_display_gpus=[facts.gpus[0].address])
    assert (mine.fabric, mine.p2p) == ("none", "off")


def test_paths_in_a_tree_of_switches() -> None:
    """Cards a and b share the inner switch, c only the outer one, d nothing."""
    a = PciDevice("a", "030000", "10de", "1", parents=("root", "up", "down1", "inner", "port1"))
    b = PciDevice("b", "030000", "10de", "1", parents=("root", "up", "down1", "inner", "port2"))
    c = PciDevice("c", "030000", "10de", "1", parents=("root", "up", "down2"))
    d = PciDevice("d", "030000", "10de", "1", parents=("other",))
    assert bridges_between([a, b], switches_only=False) == ("port1", "port2")
    assert bridges_between([a, c], switches_only=False) == ("down1", "down2", "inner", "port1")
    assert bridges_between([c, d], switches_only=False) == ("down2", "other", "root", "up")
    assert bridges_between([c, d], switches_only=True) == ()
    assert bridges_between([a], switches_only=False) == ()
