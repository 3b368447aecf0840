"""Hosts made of catalogue rows, for tests that ask what a plan does; recorded machines are in tests/fleet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gpuwright import catalog
from gpuwright.catalog.gpus import GpuRow
from gpuwright.catalog.kernels import KernelRow
from gpuwright.facts import HostFacts, PciDevice
from gpuwright.facts.model import (
    SCHEMA,
    Boot,
    Found,
    InstalledPackage,
    Kernel,
    Machine,
    Nic,
    Readings,
)

# uname -r of each row's kernel
RELEASES = {
    ("debian 12", "linux-image-{arch}", ""): "6.1.0-56-amd64",
    ("debian 12", "linux-image-{arch}", "bookworm-backports"): "6.12.95+deb12-amd64",
    ("debian 12", "linux-image-6.12-{arch}", ""): "6.12.117+deb12-amd64",
    ("debian 12", "linux-image-cloud-{arch}", ""): "6.1.0-56-cloud-amd64",
    ("debian 12", "linux-image-rt-{arch}", ""): "6.1.0-56-rt-amd64",
    ("debian 13", "linux-image-{arch}", ""): "6.12.117+deb13-amd64",
    ("debian 13", "linux-image-{arch}", "trixie-backports"): "7.3.4+deb13-amd64",
    ("debian 13", "linux-image-cloud-{arch}", ""): "6.12.117+deb13-cloud-amd64",
    ("debian 13", "linux-image-rt-{arch}", ""): "6.12.117+deb13-rt-amd64",
    ("ubuntu 22.04", "linux-image-generic", ""): "5.15.0-144-generic",
    ("ubuntu 22.04", "linux-image-generic-hwe-22.04", ""): "6.8.0-52-generic",
    ("ubuntu 22.04", "linux-image-virtual", ""): "5.15.0-144-generic",
    ("ubuntu 22.04", "linux-image-azure", ""): "6.8.0-1020-azure",
    ("ubuntu 22.04", "linux-image-gcp", ""): "6.8.0-1020-gcp",
    ("ubuntu 22.04", "linux-image-aws", ""): "6.8.0-1020-aws",
    ("ubuntu 24.04", "linux-image-generic", ""): "6.8.0-52-generic",
    ("ubuntu 24.04", "linux-image-generic-hwe-24.04", ""): "6.17.0-14-generic",
    ("ubuntu 24.04", "linux-image-oem-24.04d", ""): "6.17.0-1010-oem",
    ("ubuntu 24.04", "linux-image-nvidia", ""): "6.8.0-1030-nvidia",
    ("ubuntu 24.04", "linux-image-virtual", ""): "6.8.0-52-generic",
    ("ubuntu 24.04", "linux-image-azure", ""): "6.17.0-1010-azure",
    ("ubuntu 24.04", "linux-image-gcp", ""): "6.17.0-1010-gcp",
    ("ubuntu 24.04", "linux-image-aws", ""): "6.17.0-1010-aws",
    ("ubuntu 26.04", "linux-image-generic", ""): "7.0.0-14-generic",
    ("ubuntu 26.04", "linux-image-virtual", ""): "7.0.0-14-generic",
}


def release_of(row: KernelRow) -> str:
    """A `uname -r` that kernels of this row have."""
    return RELEASES[row.os, row.image, row.suite]


def gpu_row(name: str) -> GpuRow:
    """The catalogue's row of a GPU."""
    return next(row for row in catalog.load().gpus.rows if row.name == name)


def kernel_row(os: str, flavour: str) -> KernelRow:
    """The first row of a flavour."""
    return next(row for row in catalog.load().kernels.offered(os) if row.flavour == flavour)


def gpu(row: GpuRow, address: str, parents: tuple[str, ...] = ()) -> PciDevice:
    """A card of a row at an address, below bridges, root port first."""
    vendor, _, device = next(iter(row.subsystems), f"{row.vendor}:0001").partition(":")
    return PciDevice(address, "030000", row.vendor, row.devices[0], vendor, device, parents=parents)


def bridge(address: str, acs: bool | None = True, parents: tuple[str, ...] = ()) -> PciDevice:
    """A root port or a port of a switch."""
    return PciDevice(address, "060400", "1022", "1483", parents=parents, acs=acs)


def in_slots(names: Sequence[str]) -> tuple[PciDevice, ...]:
    """A card in each of the processor's slots, every root port with ACS."""
    devices: list[PciDevice] = []
    for index, name in enumerate(names):
        port = f"0000:{16 + 16 * index:02x}:01.0"
        card = f"0000:{17 + 16 * index:02x}:00.0"
        devices += [bridge(port), gpu(gpu_row(name), card, (port,))]
    return tuple(devices)


def with_kernel(facts: HostFacts, row: KernelRow) -> HostFacts:
    """The host on a kernel of the distribution, installed by its metapackages; others stay installed."""
    arch = "arm64" if facts.arch == "aarch64" else "amd64"
    tail = f"-1~bpo{row.os[-2:]}+1" if row.suite.endswith("-backports") else "-1"
    metas = tuple(InstalledPackage(name, row.version + tail) for name in row.packages(arch))
    there = tuple(p for p in facts.found.packages if p.name not in {meta.name for meta in metas})
    return running(
        replace(facts, found=replace(facts.found, packages=(*there, *metas))),
        release_of(row).replace("amd64", arch),
        {symbol: value for symbol, value in row.options.items() if value != "unknown"},
    )


def running(facts: HostFacts, release: str, config: dict[str, str]) -> HostFacts:
    """The host on a kernel of this name and configuration."""
    others = tuple(
        replace(kernel, running=False) for kernel in facts.found.kernels if kernel.release != release
    )
    kernel = Kernel(release, True, True, tuple(config.items()))
    return replace(facts, found=replace(facts.found, kernels=(*others, kernel)))


def host(os: str = "debian 13", cards: Sequence[str] = (), flavour: str = "ga") -> HostFacts:
    """A server on metal with these cards, each in a slot of its own, on a kernel of the release."""
    row = next(row for row in catalog.load().releases if f"{row.id} {row.version}" == os)
    bare = HostFacts(
        schema=SCHEMA,
        os_id=row.id,
        os_version=row.version,
        os_codename=row.codename,
        os_name=os.capitalize(),
        arch="x86_64",
        memory_bytes=256 * 1024**3,
        cpus=32,
        cpu_vendor="AuthenticAMD",
        cpu_family=25,
        machine=Machine("Supermicro", "SYS", "X"),
        pci=in_slots(cards),
        nics=(Nic("enp2s0", "0000:02:00.0", "ixgbe", "", default_route=True),),
        disks=(),
        virtualisation="none",
        init="systemd",
        boot=Boot("uefi", "grub", "disabled", "plain"),
        found=Found(),
        readings=Readings(),
    )
    return with_kernel(bare, kernel_row(os, flavour))
