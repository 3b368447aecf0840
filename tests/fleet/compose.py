"""Composed machines: facts.json out of the [compose] table of a machine.toml and the parts of parts.toml.

    python -m tests.fleet.compose            # writes facts.json of every composed machine

Buses are numbered as firmware does it: depth first, each bridge takes the next free number.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from gpuwright.facts.model import (
    AMD,
    NVIDIA,
    SCHEMA,
    Boot,
    Disk,
    Driver,
    Found,
    HostFacts,
    InstalledPackage,
    Kernel,
    Leftover,
    LinkNow,
    Machine,
    Nic,
    PciDevice,
    Readings,
)
from tests.fleet.composition import Composition, Function, Segment, Slot, bytes_of, parts

IN_TREE = {NVIDIA: "nouveau", AMD: "amdgpu"}
NVSWITCH = "068000"
SMALL_WINDOW = 256 * 1024**2  # what a card shows of its VRAM without Resizable BAR
GIB = 1024**3


def composed() -> Iterator[tuple[Path, HostFacts]]:
    """Directory and facts of every machine that has a [compose] table."""
    for path in sorted(Path(__file__).parent.glob("*/machine.toml")):
        table = tomllib.loads(path.read_text()).get("compose")
        if table is not None:
            yield path.parent, facts_of(Composition.model_validate(table))


def facts_of(machine: Composition) -> HostFacts:
    """The facts of a composed machine. Raises KeyError for a part that parts.toml lacks."""
    release, processor = parts().release[machine.release], parts().processor[machine.processor]
    placed = _placed(machine)
    pci = tuple(_seen(placed))
    gpus = [device for device in pci if _kind(device) in ("03", "12")]
    found = _found(machine, gpus)
    return HostFacts(
        schema=SCHEMA,
        os_id=release.os_id,
        os_version=release.version,
        os_codename=release.codename,
        os_name=release.name,
        arch=processor.arch,
        memory_bytes=machine.memory_gib * GIB,
        cpus=machine.cpus or processor.cpus,
        cpu_vendor=processor.vendor,
        cpu_family=processor.family,
        machine=Machine(machine.dmi.vendor, machine.dmi.product, machine.dmi.board),
        pci=pci,
        nics=tuple(_nics(placed)),
        disks=tuple(_disks(placed)),
        virtualisation=machine.virtualisation,
        init="systemd",
        boot=Boot(**machine.boot.model_dump()),
        found=found,
        readings=Readings(
            kernel_release=found.kernels[0].release,
            cmdline=machine.cmdline,
            links=tuple(LinkNow(gpu.address, _bound(gpu, found.drivers)) for gpu in gpus),
        ),
    )


@dataclass(frozen=True)
class _Placed:
    device: PciDevice
    part: Function


def _placed(machine: Composition) -> list[_Placed]:
    """All functions in address order."""
    functions = [each for segment in machine.segment for each in _Segment(segment, machine).functions()]
    return sorted(functions, key=lambda each: each.device.address)


def _seen(placed: list[_Placed]) -> Iterator[PciDevice]:
    """What the probe prints: display, accelerators, network, NVSwitches, and the bridges above GPUs and NVSwitches."""
    ends = [
        each.device for each in placed if each.device.vendor in (NVIDIA, AMD) and _kind(each.device) != "06"
    ]
    ends += [each.device for each in placed if each.device.class_code == NVSWITCH]
    above = {parent for device in ends for parent in device.parents}
    for each in placed:
        device = each.device
        if _kind(device) in ("02", "03", "12") or device.class_code == NVSWITCH or device.address in above:
            yield device if _kind(device) in ("03", "12") else replace(device, bars=())


def _kind(device: PciDevice) -> str:
    return device.class_code[:2]


class _Segment:
    """A root bus being numbered."""

    def __init__(self, segment: Segment, machine: Composition) -> None:
        self.segment, self.machine = segment, machine
        self.domain, root = segment.at.split(":")
        self.root = int(root, 16)
        self.free = self.root + 1

    def functions(self) -> Iterator[_Placed]:
        port = parts().processor[self.machine.processor].root_port if self.segment.ports else ""
        for number, written in enumerate(self.segment.slots, start=self.segment.first):
            node = _node(written)
            yield from self._put(_Node(Slot(part=port), (node,)) if port else node, self.root, number, ())

    def _put(self, node: _Node, bus: int, number: int, parents: tuple[str, ...]) -> Iterator[_Placed]:
        address = f"{self.domain}:{bus:02x}:{number:02x}.0"
        part = parts().function[node.slot.part]
        yield _Placed(self._device(address, node.slot, part, parents), part)
        if node.behind:
            below, self.free = self.free, self.free + 1
            for position, child in enumerate(node.behind):
                yield from self._put(child, below, position, (*parents, address))

    def _device(self, address: str, slot: Slot, part: Function, parents: tuple[str, ...]) -> PciDevice:
        bars = [bytes_of(size) for size in part.bars]
        if part.resizable and part.window is not None and not self.machine.resizable_bar:
            bars[part.window] = SMALL_WINDOW
        vendor, device = slot.part.partition("-")[0].split(":")
        speed, width = part.link or (None, None)
        return PciDevice(
            address,
            part.class_code,
            vendor,
            device,
            subsystem_vendor=part.subsystem.partition(":")[0],
            subsystem_device=part.subsystem.partition(":")[2],
            parents=parents,
            numa=self.segment.numa,
            bars=tuple(bars),
            link_speed_max=speed,
            link_width_max=width,
            boot_display=slot.boot_display,
            acs=part.acs,
            passthrough=slot.passthrough,
        )


@dataclass(frozen=True)
class _Node:
    """A function, and those on the bus below it."""

    slot: Slot
    behind: tuple[_Node, ...] = ()


def _node(written: Slot | str) -> _Node:
    """A slot with the ports of its switch, and the bridges that sit on its card above it."""
    slot = Slot(part=written) if isinstance(written, str) else written
    part = parts().function[slot.part]
    behind = tuple(map(_node, slot.behind))
    if part.port:
        behind = tuple(_Node(Slot(part=part.port), (each,)) for each in behind)
    node = _Node(slot, behind)
    for bridge in reversed(part.card):
        node = _Node(Slot(part=bridge), (node,))
    return node


def _found(machine: Composition, gpus: list[PciDevice]) -> Found:
    kernel, left = parts().kernel[machine.kernel], machine.found
    vendors = dict.fromkeys(gpu.vendor for gpu in gpus if gpu.vendor in IN_TREE)
    drivers = tuple(
        Driver(IN_TREE[vendor], "", "in-tree", "kernel", True)
        for vendor in vendors
        if IN_TREE[vendor] in kernel.modules
    )
    if left and left.drivers is not None:
        drivers = left.drivers
    packages = (*kernel.packages, *(left.packages if left else ()))
    return Found(
        drivers=drivers,
        packages=tuple(InstalledPackage(*each) for each in sorted(packages)),
        kernels=(
            Kernel(
                kernel.release,
                running=True,
                headers=left.headers if left else True,
                config=tuple(sorted(kernel.config.items())),
            ),
        ),
        leftovers=tuple(Leftover(*each) for each in (left.leftovers if left else ())),
    )


def _bound(gpu: PciDevice, drivers: tuple[Driver, ...]) -> str:
    names = {NVIDIA: ("nvidia", "nouveau"), AMD: ("amdgpu",)}.get(gpu.vendor, ())
    return next((driver.name for driver in drivers if driver.loaded and driver.name in names), "")


def _nics(placed: list[_Placed]) -> Iterator[Nic]:
    """Names of systemd.net-naming-scheme(7); the first Ethernet one holds the default route."""
    nics = [each for each in placed if each.part.driver]
    rdma = [each for each in nics if each.part.rdma]
    routed = next((each for each in nics if each.device.class_code == "020000"), None)
    for each in nics:
        bus, number = each.device.address.split(":")[1], each.device.address.split(":")[2][:2]
        kind = "ib" if each.device.class_code == "020700" else "en"
        yield Nic(
            name=f"{kind}p{int(bus, 16)}s{int(number, 16)}",
            pci=each.device.address,
            driver=each.part.driver,
            rdma=f"mlx5_{rdma.index(each)}" if each in rdma else "",
            default_route=each is routed,
        )


def _disks(placed: list[_Placed]) -> Iterator[Disk]:
    disks = [each for each in placed if each.part.bytes]
    for index, each in enumerate(disks):
        nvme = each.device.class_code == "010802"
        yield Disk(
            f"nvme{index}n1" if nvme else f"vd{'abcdefgh'[index]}", each.part.bytes, rotational=not nvme
        )


if __name__ == "__main__":
    for directory, facts in composed():
        (directory / "facts.json").write_text(facts.to_json())
        print(directory.name)
