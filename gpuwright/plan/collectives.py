"""Slice `collectives`: NCCL and RCCL."""

from __future__ import annotations

from collections.abc import Iterator

from gpuwright.catalog import Catalog
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import CollectivesConf, CollectivesPlan, Gpu, InterconnectPlan, Variable
from gpuwright.plan.model import ManagedFile
from gpuwright.plan.notes import Notes
from gpuwright.plan.peers import cards, peer_groups
from gpuwright.settings import HostSettings

TEMPLATE = "interconnect/collectives.conf.j2"
ENV = "NCCL user guide, environment variables"
# Always read by the vendor's library, after what the user says, and RCCL does not read NCCL's; services mount them
# read-only into their containers.
CONF = {"nvidia": "/etc/nccl.conf", "amd": "/etc/rccl.conf"}
VIRTUAL = ("docker", "veth", "virbr", "br-", "lo")
SETTING = "setting interconnect_variables"
P2P = "NCCL_P2P_DISABLE"
# Names that the other vendor's library has no use for.
FOREIGN = {"nvidia": "RCCL_", "amd": ""}


def plan_collectives(
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    gpus: tuple[Gpu, ...],
    interconnect: InterconnectPlan,
    notes: Notes,
) -> CollectivesPlan:
    """System-wide variables, from network interfaces and the interconnect; RCCL reads the same names."""
    notes.why("collectives", "fewer than two GPUs of one vendor: nothing is collective", ENV)
    groups = {peers.cards[0].gpu.vendor for peers in peer_groups(facts, gpus, catalog)}
    planned = [*_sockets(facts), *_rdma(facts), *_p2p(interconnect)] if groups else []
    declared = settings.interconnect.interconnect_variables
    variables = _declared(declared, planned, notes)
    present = {card.gpu.vendor for card in cards(facts, gpus, catalog)}
    conf: dict[str, tuple[Variable, ...]] = {}
    for vendor in CONF:
        # A card alone on its host may have peers on others: what is declared holds for it too.
        wanted = variables if vendor in groups else [each for each in variables if each.name in declared]
        mine = tuple(
            each for each in wanted if not (FOREIGN[vendor] and each.name.startswith(FOREIGN[vendor]))
        )
        if vendor in present and mine:
            conf[vendor] = mine
    _check(declared, conf, present, notes)
    for index, each in enumerate(variables):
        notes.why(f"collectives.variables.{index}", each.reason, each.source)
    for index, vendor in enumerate(conf):
        why = f"read by every program with {'NCCL' if vendor == 'nvidia' else 'RCCL'}, whoever starts it"
        notes.why(f"collectives.files.{index}", why, ENV)
    notes.why("collectives.dropped_files", "nothing is set there: what an earlier plan wrote goes", ENV)
    return CollectivesPlan(
        tuple((each.name, each.value) for each in variables),
        tuple(ManagedFile(CONF[vendor], TEMPLATE, CollectivesConf(mine)) for vendor, mine in conf.items()),
        tuple(path for vendor, path in CONF.items() if vendor not in conf),
    )


def _declared(declared: dict[str, str], planned: list[Variable], notes: Notes) -> list[Variable]:
    """The planned variables in order, declared ones in the place of those of their name, then the other declared."""
    by_name = {each.name: each for each in planned}
    for name, value in sorted(declared.items()):
        if name == P2P and P2P in by_name and value != by_name[P2P].value:
            notes.refuse(
                f"{SETTING}: {name}",
                f"{value!r} is declared",
                f"{by_name[P2P].value}, until a transfer over PCIe was checked on this host: {by_name[P2P].reason}",
                "Remove it from interconnect_variables.",
            )
        by_name[name] = Variable(name, value, "declared", SETTING)
    return list(by_name.values())


def _check(
    declared: dict[str, str], conf: dict[str, tuple[Variable, ...]], present: set[str], notes: Notes
) -> None:
    """What is declared and has no file to stand in would be lost without a word."""
    written = {each.name for mine in conf.values() for each in mine}
    if lost := sorted(set(declared) - written):
        notes.refuse(
            f"{SETTING}: {', '.join(lost)}",
            f"the host has GPUs for computing of {' and '.join(sorted(present)) or 'nobody'}",
            "a GPU whose library reads it: NCCL_ is for both vendors', RCCL_ for AMD's",
            "Declare it for the hosts that have one.",
        )


def _sockets(facts: HostFacts) -> Iterator[Variable]:
    """The interface for bootstrap and TCP; "=" matches whole names, "^" leaves out by prefix."""
    name = "NCCL_SOCKET_IFNAME"
    routes = sorted(nic.name for nic in facts.nics if nic.default_route and not nic.name.startswith(VIRTUAL))
    if routes:
        reason = "the default route's interface, so that no container's bridge is chosen"
        yield Variable(name, f"={','.join(routes)}", reason, ENV)
    elif any(nic.name for nic in facts.nics):
        reason = "no default route: any interface that is not a container's or a guest's"
        yield Variable(name, f"^{','.join(VIRTUAL)}", reason, ENV)


def _rdma(facts: HostFacts) -> Iterator[Variable]:
    """RDMA devices with the widest link; narrow ones lead to NVSwitches, or carry something else than collectives."""
    widths = {device.address: device.link_width_max or 0 for device in facts.pci}
    nics = [(widths.get(nic.pci, 0), nic.rdma) for nic in facts.nics if nic.rdma]
    widest = max((width for width, _ in nics), default=0)
    devices = sorted({rdma for width, rdma in nics if width == widest}, key=lambda name: (len(name), name))
    if devices:
        reason = (
            "the RDMA devices of the widest link, by whole name; HGX B200 shows its NVSwitches as narrow ones"
        )
        yield Variable("NCCL_IB_HCA", f"={','.join(devices)}", reason, f"{ENV}; siderolabs/extensions#893")


def _p2p(interconnect: InterconnectPlan) -> Iterator[Variable]:
    if interconnect.p2p != "fabric":
        yield Variable(
            P2P,
            "1",
            "P2P over PCIe hangs or corrupts on some hosts that report it as working: off until a transfer was checked",
            "vllm-project/vllm#51513, noonghunna/club-3090#873",
        )
