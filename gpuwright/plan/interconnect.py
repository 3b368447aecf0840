"""Slice `interconnect`: IOMMU, ACS and P2P."""

from __future__ import annotations

from dataclasses import dataclass

from gpuwright.catalog import Catalog
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import DriverPlan, Gpu, InterconnectPlan, KernelPlan
from gpuwright.plan.iommu import guarded, iommu_mode
from gpuwright.plan.kernel import tries_pcie
from gpuwright.plan.kernel.choice import peers_over_pcie
from gpuwright.plan.model import Reason
from gpuwright.plan.notes import Notes
from gpuwright.plan.peers import Peers, amd_over_pcie, cards, narrow, peer_groups, routed
from gpuwright.plan.topology import bridges_between
from gpuwright.settings import HostSettings

NCCL = "NCCL user guide, troubleshooting: PCI Access Control Services"
P2PDMA = "drivers/pci/p2pdma.c: calc_map_type_and_dist()"
LARGE_BAR = "amdgpu_device_is_peer_accessible(): a peer's BAR must show all of its memory"
PROOF = "DESIGN 5: P2P is off until a value-checked transfer has passed"


@dataclass(frozen=True)
class Policy:
    """What one vendor's cards may do: off, fabric or to-be-proven; `pcie`: over PCIe, so bridges matter."""

    p2p: str
    pcie: bool
    why: Reason


def plan_interconnect(
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    gpus: tuple[Gpu, ...],
    drivers: tuple[DriverPlan, ...],
    kernel: KernelPlan,
    notes: Notes,
) -> InterconnectPlan:
    """How GPUs reach each other, decided before anything was measured."""
    compute = cards(facts, gpus, catalog)
    groups = peer_groups(facts, gpus, catalog)
    kernel_can = peers_over_pcie(facts, catalog, kernel)
    policies = [(peers, _policy(facts, settings, catalog, peers, kernel_can, notes)) for peers in groups]
    may_try = tries_pcie(facts, settings, catalog, amd_over_pcie(groups), kernel_can)
    iommu, why = iommu_mode(facts, settings, compute, may_try)
    notes.why("interconnect.iommu", why.reason, why.source)
    return InterconnectPlan(
        fabric=_fabric(groups, notes),
        iommu=iommu,
        acs_off=_acs_off(facts, settings, policies, iommu, notes),
        p2p=_p2p(policies, notes),
    )


def _policy(
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    peers: Peers,
    kernel_can: bool | None,
    notes: Notes,
) -> Policy:
    names, source = peers.names, peers.cards[0].row.source
    wanted = settings.interconnect.interconnect_p2p == "wanted"
    if peers.link != "pcie":
        return Policy("fabric", False, Reason(f"{names}: joined by {peers.link}", source))
    if settings.interconnect.interconnect_p2p == "off":
        return Policy("off", False, Reason(f"{names}: declared, never over PCIe", "setting interconnect_p2p"))
    if wanted:
        _wide_enough(facts, peers, notes)
    if len(peers.pcie) > 1 and routed(facts, catalog, peers) and (not peers.amd or kernel_can):
        return Policy("to-be-proven", True, Reason(f"{names}: driver and kernel have it over PCIe", PROOF))
    if peers.bridged:
        reason = f"{names}: whether a bridge joins them is not seen on the bus, with or without one the plan is this"
        return Policy("to-be-proven", False, Reason(reason, PROOF))
    if len(peers.pcie) < 2:
        observed = f"{names}: the vendor's driver has no P2P over PCIe for them"
    elif not routed(facts, catalog, peers):
        observed = f"{names}: no common switch, and the kernel routes no P2P across this processor"
        source = P2PDMA
    else:
        wanted = False  # the kernel's planner has refused it, or nobody could know
        observed, source = f"{names}: the kernel is not known to have it", "catalogue, kernels.toml"
    if wanted:
        notes.refuse(
            "setting interconnect_p2p",
            f'"wanted" is declared, and {observed}',
            "cards, driver, processor and firmware that can",
            'Set interconnect_p2p = "auto"; transfers then go through host memory.',
        )
    return Policy("off", False, Reason(observed, source))


def _wide_enough(facts: HostFacts, peers: Peers, notes: Notes) -> None:
    """Refuse a P2P that is wanted and cannot come. Undeclared it is left to be proven: amdgpu may still widen a BAR."""
    for card in peers.pcie:
        if narrow(facts, card):
            notes.refuse(
                f"gpu {card.device.address} ({card.row.name})",
                f"its BAR shows {max(card.device.bars) // 1024**2} MiB ({LARGE_BAR})",
                f'{card.gpu.memory_bytes // 1024**2} MiB, with interconnect_p2p = "wanted"',
                'Switch on "Above 4G decoding" and "Resizable BAR" in the firmware, or set interconnect_p2p = "auto".',
            )


def _fabric(groups: tuple[Peers, ...], notes: Notes) -> str:
    if not groups:
        notes.why("interconnect.fabric", "fewer than two GPUs of one vendor", "PCI bus")
        return "none"
    best = next((peers for peers in groups if peers.link != "pcie"), groups[0])
    reason = f"{best.names}: {best.link}"
    if best.bridged:
        reason += "; a bridge between cards would not be seen on the bus"
    notes.why("interconnect.fabric", reason, best.cards[0].row.source)
    return best.link


def _acs_off(
    facts: HostFacts,
    settings: HostSettings,
    policies: list[tuple[Peers, Policy]],
    iommu: str,
    notes: Notes,
) -> tuple[str, ...]:
    """Bridges that send a transfer between two GPUs up to the processor.

    With a remapping IOMMU that is where it must go, for only the IOMMU knows the addresses in it; below a common
    switch the kernel still wants the redirection off before it calls two devices peers.
    """
    if guarded(facts, settings) or facts.virtualisation != "none":
        return ()
    has_acs = {device.address for device in facts.pci if device.acs}
    found: set[str] = set()
    for peers, policy in policies:
        if policy.pcie:
            devices = [card.device for card in peers.pcie]
            found |= has_acs & set(bridges_between(devices, switches_only=iommu == "remapping"))
    notes.why(
        "interconnect.acs_off",
        "between two GPUs, with ACS: it would send transfers round",
        f"{NCCL}; {P2PDMA}",
    )
    return tuple(sorted(found))


def _p2p(policies: list[tuple[Peers, Policy]], notes: Notes) -> str:
    """The most careful of what the vendors' cards may do: to-be-proven, then fabric, then off."""
    order = ("to-be-proven", "fabric", "off")
    ranked = sorted((policy for _, policy in policies), key=lambda policy: order.index(policy.p2p))
    if not ranked:
        notes.why("interconnect.p2p", "fewer than two GPUs of one vendor", "PCI bus")
        return "off"
    notes.why("interconnect.p2p", "; ".join(p.why.reason for p in ranked), ranked[0].why.source)
    return ranked[0].p2p
