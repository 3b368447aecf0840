"""Slice `kernel`: the kernel that the GPUs need, its command line, and how a trial boot comes back."""

from __future__ import annotations

from gpuwright.catalog import Catalog
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import Gpu, KernelPlan
from gpuwright.plan.iommu import iommu_arguments, iommu_mode
from gpuwright.plan.kernel.choice import Choice
from gpuwright.plan.kernel.policy import choose
from gpuwright.plan.model import Reason
from gpuwright.plan.notes import Notes
from gpuwright.plan.peers import Peers, amd_over_pcie, cards, peer_groups, routed
from gpuwright.settings import HostSettings

PCIE_P2P = "amdgpu.pcie_p2p=0"


def plan_kernel(
    facts: HostFacts, settings: HostSettings, catalog: Catalog, gpus: tuple[Gpu, ...], notes: Notes
) -> KernelPlan:
    """The kernel's flavour, packages and command line."""
    compute = cards(facts, gpus, catalog)
    peers = amd_over_pcie(peer_groups(facts, gpus, catalog))
    choice = choose(facts, settings, catalog, compute, peers, notes)
    notes.why("kernel", choice.why.reason, choice.why.source)
    may_try = tries_pcie(facts, settings, catalog, peers, choice.p2p)
    mode, _ = iommu_mode(facts, settings, compute, may_try)
    words = iommu_arguments(facts, mode, choice.intel_iommu)
    if peers and choice.p2p and settings.interconnect.interconnect_p2p == "off":
        words += (
            (PCIE_P2P, Reason('interconnect_p2p = "off"', "module_param pcie_p2p of amdgpu (mode 0444)")),
        )
    arguments = _arguments(facts, settings, words, notes)
    return KernelPlan(
        choice.flavour,
        choice.suite,
        choice.packages,
        choice.config,
        arguments,
        _fallback(facts, settings, choice, notes),
    )


def tries_pcie(
    facts: HostFacts, settings: HostSettings, catalog: Catalog, peers: Peers | None, kernel_can: bool | None
) -> bool:
    """Whether AMD cards may try P2P over PCIe: allowed, and kernel and processor can."""
    allowed = settings.interconnect.interconnect_p2p != "off"
    return bool(peers and allowed and kernel_can and routed(facts, catalog, peers))


def _arguments(
    facts: HostFacts, settings: HostSettings, words: tuple[tuple[str, Reason], ...], notes: Notes
) -> tuple[str, ...]:
    declared = settings.kernel.kernel_arguments
    if facts.in_container:
        if declared:
            notes.refuse(
                "setting kernel_arguments",
                f"the host is a container ({facts.virtualisation})",
                "a host that boots its own kernel",
                "Set the arguments on the machine around it, and take them out of this host's settings.",
            )
        return ()
    chosen: dict[str, Reason] = dict(words)
    for word in declared:
        rival = next((ours for ours in chosen if _key(ours) == _key(word) and ours != word), None)
        if rival:
            notes.refuse(
                "setting kernel_arguments",
                f"{word} is declared, and {rival} follows from other settings",
                "one value for each word",
                f"Remove {word}; the IOMMU's mode is interconnect_iommu, P2P is interconnect_p2p.",
            )
        chosen[word] = Reason("declared", "setting kernel_arguments")
    for index, reason in enumerate(chosen.values()):
        notes.why(f"kernel.arguments.{index}", reason.reason, reason.source)
    return tuple(chosen)


def _fallback(facts: HostFacts, settings: HostSettings, choice: Choice, notes: Notes) -> str:
    """How a trial boot of another kernel comes back by itself; a kernel that would not is refused."""
    boot = facts.boot
    if facts.in_container:
        way, reason = "none", "a container boots no kernel"
    elif boot.loader == "grub" and boot.grubenv == "plain":
        way, reason = "grubenv", "GRUB can write /boot/grub, so a one-shot entry is cleared when it boots"
    elif boot.loader == "systemd-boot":
        way, reason = "systemd-boot", "bootctl set-oneshot"
    else:
        way, reason = "none", f"boot loader {boot.loader}, /boot/grub on {boot.grubenv}"
    notes.why(
        "kernel.fallback",
        reason,
        "grub-reboot(8): on LVM, MD, btrfs and ZFS the entry would stay; bootctl(1)",
    )
    if way == "none" and choice.running is False and settings.kernel.kernel_reboot == "fallback":
        notes.refuse(
            "kernel",
            f"another kernel is needed ({choice.flavour}: {choice.why.reason}), and a boot that fails would not come "
            f"back: boot loader {boot.loader}, /boot/grub on {boot.grubenv}",
            "GRUB with /boot/grub on a plain partition, or systemd-boot",
            'Put /boot/grub on a plain partition, or set kernel_reboot = "no_fallback" where somebody reaches the '
            "console.",
        )
    return way


def _key(word: str) -> str:
    return word.partition("=")[0]
