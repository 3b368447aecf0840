"""Which GPUs could reach each other, and over what: asked by the kernel's planner and by the interconnect's."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from gpuwright.catalog import Catalog
from gpuwright.catalog.gpus import GpuRow
from gpuwright.facts import AMD, HostFacts, PciDevice
from gpuwright.plan.fabric import nvswitches
from gpuwright.plan.gpu_model import Gpu
from gpuwright.plan.topology import below_one_switch

FABRICS = ("nvswitch", "nvlink", "xgmi")
BRIDGES = ("nvlink-bridge", "xgmi-bridge")


@dataclass(frozen=True)
class Card:
    """A compute GPU with its place on the bus and its row."""

    gpu: Gpu
    device: PciDevice
    row: GpuRow


@dataclass(frozen=True)
class Peers:
    """Two or more discrete compute GPUs of one vendor.

    `link` is nvswitch, nvlink, xgmi or pcie; `bridged`: a bridge between cards may be there, which the bus does not
    show; `pcie`: cards that the vendor's driver lets reach each other over PCIe.
    """

    vendor: str
    cards: tuple[Card, ...]
    link: str
    bridged: bool
    pcie: tuple[Card, ...]

    @property
    def names(self) -> str:
        """The cards by name, each once."""
        return ", ".join(dict.fromkeys(card.row.name for card in self.cards))

    @property
    def amd(self) -> bool:
        """Whether they are AMD's."""
        return self.cards[0].row.vendor == AMD


def cards(facts: HostFacts, gpus: tuple[Gpu, ...], catalog: Catalog) -> tuple[Card, ...]:
    """All compute GPUs, in address order."""
    devices = {device.address: device for device in facts.gpus}
    found = []
    for gpu in gpus:
        device = devices[gpu.address]
        row = catalog.gpus.row(device.vendor, device.device, device.subsystem)
        if row and gpu.use == "compute":
            found.append(Card(gpu, device, row))
    return tuple(found)


def peer_groups(facts: HostFacts, gpus: tuple[Gpu, ...], catalog: Catalog) -> tuple[Peers, ...]:
    """One for each vendor with two or more discrete compute GPUs."""
    discrete = [card for card in cards(facts, gpus, catalog) if card.row.kind != "integrated"]
    vendors = dict.fromkeys(card.gpu.vendor for card in discrete)
    groups = (tuple(card for card in discrete if card.gpu.vendor == vendor) for vendor in vendors)
    return tuple(_peers(facts, catalog, group) for group in groups if len(group) > 1)


def amd_over_pcie(groups: tuple[Peers, ...]) -> Peers | None:
    """AMD cards that only P2P over PCIe can join: their driver needs the kernel's help for it."""
    return next(
        (peers for peers in groups if peers.amd and peers.link == "pcie" and len(peers.pcie) > 1), None
    )


def narrow(facts: HostFacts, card: Card) -> bool:
    """Whether an AMD card shows peers less than its memory, though amdgpu, which widens BARs, is loaded."""
    loaded = any(driver.name == "amdgpu" and driver.loaded for driver in facts.found.drivers)
    window = max(card.device.bars, default=card.gpu.memory_bytes)
    return card.row.vendor == AMD and loaded and window < card.gpu.memory_bytes


def routed(facts: HostFacts, catalog: Catalog, peers: Peers) -> bool:
    """Whether the kernel allows P2P between at least one pair: below one switch, or across this processor."""
    across = any(
        row.cpu_vendor == facts.cpu_vendor and (facts.cpu_family or 0) >= row.family
        for row in catalog.kernels.host_bridges
    )
    unknown = not facts.cpu_vendor or facts.cpu_family is None
    pairs = combinations(peers.pcie, 2)
    return across or unknown or any(below_one_switch(one.device, other.device) for one, other in pairs)


def _peers(facts: HostFacts, catalog: Catalog, group: tuple[Card, ...]) -> Peers:
    links: list[str] = [card.row.link for card in group]
    fabric = next((link for link in FABRICS if links.count(link) > 1), "pcie")
    if fabric == "nvswitch" and not nvswitches(facts, catalog, tuple(card.gpu for card in group)):
        fabric = "nvlink"
    return Peers(
        vendor=group[0].gpu.vendor,
        cards=group,
        link=fabric,
        bridged=any(links.count(link) > 1 for link in BRIDGES),
        pcie=tuple(card for card in group if card.row.p2p),
    )
