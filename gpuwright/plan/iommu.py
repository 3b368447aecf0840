"""The IOMMU's mode and the words of the kernel's command line that set it."""

from __future__ import annotations

from gpuwright.facts import AMD, HostFacts
from gpuwright.plan.model import Reason
from gpuwright.plan.peers import Card
from gpuwright.settings import HostSettings

NV_REG = "NVreg_DmaRemapPeerMmio=1 is the default in nv-reg.h of NVIDIA's open kernel modules 595.45.04"
AMD_IOMMU = "ROCm documentation, Input-Output Memory Management Unit; ROCm/legacy-rocm-build#3851"
PARAMETERS = "Documentation/admin-guide/kernel-parameters.txt of 6.12"


def iommu_mode(
    facts: HostFacts, settings: HostSettings, compute: tuple[Card, ...], amd_p2p: bool
) -> tuple[str, Reason]:
    """leave, passthrough or remapping, and why; `amd_p2p`: AMD cards may try P2P over PCIe."""
    declared = settings.interconnect.interconnect_iommu
    amd = [card for card in compute if card.row.vendor == AMD and card.row.kind != "integrated"]
    if declared != "auto":
        return declared, Reason("declared", "setting interconnect_iommu")
    if facts.virtualisation != "none":
        return "leave", Reason(
            "not known to be bare metal: the IOMMU is the hypervisor's", "systemd-detect-virt(1)"
        )
    if guarded(facts, settings):
        return "leave", Reason(
            "devices may belong to guests: isolation stays as it is", "VFIO in the kernel's docs"
        )
    if not amd:
        return "leave", Reason("NVIDIA's driver maps peers through the IOMMU by itself", NV_REG)
    if amd_p2p and any(card.row.kind != "datacenter" for card in amd):
        return "remapping", Reason("the default mode, for Radeon cards that use P2P over PCIe", AMD_IOMMU)
    return "passthrough", Reason("iommu=pt for Instinct, and for Radeon without P2P over PCIe", AMD_IOMMU)


def iommu_arguments(facts: HostFacts, mode: str, default_on: bool) -> tuple[tuple[str, Reason], ...]:
    """Words for the kernel's command line; `default_on`: the kernel starts Intel's IOMMU without being asked."""
    if mode == "passthrough":
        word = "iommu=pt" if facts.arch == "x86_64" else "iommu.passthrough=1"
        return ((word, Reason("the IOMMU's mode is passthrough", PARAMETERS)),)
    if mode == "remapping" and facts.cpu_vendor == "GenuineIntel" and not default_on:
        return (("intel_iommu=on", Reason("this kernel leaves Intel's IOMMU off", "INTEL_IOMMU_DEFAULT_ON")),)
    return ()


def guarded(facts: HostFacts, settings: HostSettings) -> bool:
    """Whether isolation between devices matters: declared, or a device is bound to vfio-pci."""
    return settings.interconnect.interconnect_isolation or any(device.passthrough for device in facts.pci)
