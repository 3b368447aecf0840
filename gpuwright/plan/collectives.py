"""Slice `collectives`: NCCL and RCCL."""

from __future__ import annotations

from gpuwright.catalog import Catalog
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import CollectivesPlan, Gpu, InterconnectPlan
from gpuwright.plan.model import Reason
from gpuwright.plan.notes import Notes
from gpuwright.plan.peers import peer_groups
from gpuwright.settings import HostSettings

ENV = "NCCL user guide, environment variables"
# What each vendor's library reads: RCCL does not read NCCL's.
CONF = {"nvidia": "/etc/nccl.conf", "amd": "/etc/rccl.conf"}
VIRTUAL = ("docker", "veth", "virbr", "br-", "lo")


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
    if not peer_groups(facts, gpus, catalog):
        return CollectivesPlan(())
    found = [*_sockets(facts), *_rdma(facts), *_p2p(interconnect)]
    for index, (_, _, why) in enumerate(found):
        notes.why(f"collectives.variables.{index}", why.reason, why.source)
    return CollectivesPlan(tuple((name, value) for name, value, _ in found))


def _sockets(facts: HostFacts) -> list[tuple[str, str, Reason]]:
    """The interface for bootstrap and TCP; "=" matches whole names, "^" leaves out by prefix."""
    routes = sorted(nic.name for nic in facts.nics if nic.default_route and not nic.name.startswith(VIRTUAL))
    if routes:
        reason = Reason("the default route's interface, so that no container's bridge is chosen", ENV)
        return [("NCCL_SOCKET_IFNAME", f"={','.join(routes)}", reason)]
    if any(nic.name for nic in facts.nics):
        reason = Reason("no default route: any interface that is not a container's or a guest's", ENV)
        return [("NCCL_SOCKET_IFNAME", f"^{','.join(VIRTUAL)}", reason)]
    return []


def _rdma(facts: HostFacts) -> list[tuple[str, str, Reason]]:
    """RDMA devices with the widest link; narrow ones lead to NVSwitches, or carry something else than collectives."""
    widths = {device.address: device.link_width_max or 0 for device in facts.pci}
    nics = [(widths.get(nic.pci, 0), nic.rdma) for nic in facts.nics if nic.rdma]
    widest = max((width for width, _ in nics), default=0)
    devices = sorted({rdma for width, rdma in nics if width == widest}, key=lambda name: (len(name), name))
    reason = Reason(
        "the RDMA devices of the widest link, by whole name; HGX B200 shows its NVSwitches as narrow ones",
        f"{ENV}; siderolabs/extensions#893",
    )
    return [("NCCL_IB_HCA", f"={','.join(devices)}", reason)] if devices else []


def _p2p(interconnect: InterconnectPlan) -> list[tuple[str, str, Reason]]:
    if interconnect.p2p == "fabric":
        return []
    reason = Reason(
        "P2P over PCIe hangs or corrupts on some hosts that report it as working: off until a transfer was checked",
        "DESIGN 5; vllm-project/vllm#51513, noonghunna/club-3090#873",
    )
    return [("NCCL_P2P_DISABLE", "1", reason)]
