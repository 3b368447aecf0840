"""HostFacts: what a plan may know of a host, and the pure parser of the probe's text."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from gpuwright.errors import GpuwrightError

SCHEMA = 1

NVIDIA = "10de"
AMD = "1002"


@dataclass(frozen=True)
class PciDevice:
    """A PCI function of class 0x03 (display or 3D controller); ids are four hex digits, the class six."""

    address: str
    class_code: str
    vendor: str
    device: str
    subsystem_vendor: str
    subsystem_device: str


@dataclass(frozen=True)
class Disk:
    """A whole block device, size in bytes."""

    name: str
    bytes: int
    rotational: bool


@dataclass(frozen=True)
class HostFacts:
    """A host before anything is done to it; nothing in here is changed by a deploy.

    `memory_bytes` is the kernel's MemTotal; `virtualisation` is systemd-detect-virt's word ("none" on metal,
    "unknown" where that program is missing); `boot_loader` is grub, systemd-boot or none.
    """

    schema: int
    os_id: str
    os_version: str
    os_codename: str
    os_name: str
    arch: str
    memory_bytes: int
    cpus: int
    display: tuple[PciDevice, ...]
    disks: tuple[Disk, ...]
    virtualisation: str
    init: str
    firmware: str
    boot_loader: str

    @property
    def gpus(self) -> tuple[PciDevice, ...]:
        """Display and 3D devices of NVIDIA and AMD; board management controllers are not among them."""
        return tuple(device for device in self.display if device.vendor in (NVIDIA, AMD))

    @property
    def in_container(self) -> bool:
        """Whether the kernel, and so its clock and its modules, belong to an outer host."""
        return self.virtualisation in CONTAINERS

    def to_json(self) -> str:
        """Canonical JSON text; `from_json` reads it back to an equal object."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> HostFacts:
        """Raises GpuwrightError for text that is no HostFacts of this schema."""
        try:
            data = json.loads(text)
            if data["schema"] != SCHEMA:
                raise _unreadable(f"schema {data['schema']}", f"schema {SCHEMA}")
            data["display"] = tuple(PciDevice(**device) for device in data["display"])
            data["disks"] = tuple(Disk(**disk) for disk in data["disks"])
            return cls(**data)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _unreadable(f"{type(error).__name__}: {error}", "a complete facts file") from error


# systemd-detect-virt(1), "container technologies"
CONTAINERS = frozenset(
    {"docker", "podman", "lxc", "lxc-libvirt", "systemd-nspawn", "openvz", "rkt", "wsl", "proot"}
)


def parse(text: str) -> HostFacts:
    """The probe's output as HostFacts.

    Raises GpuwrightError when the text was cut off or a section that every host has is missing: a host that
    cannot be read is refused, never guessed at.
    """
    sections = _sections(text)
    release = _release(_require(sections, "os_release"))
    boot = dict(line.split(" ", 1) for line in _require(sections, "boot").splitlines())
    memory = re.fullmatch(r"MemTotal:\s+(\d+) kB", _require(sections, "memory").strip())
    cpus = _require(sections, "cpus").strip()
    if memory is None or not cpus.isdigit():
        raise _unreadable("memory or cpus without a number", "/proc/meminfo and /proc/cpuinfo")
    return HostFacts(
        schema=SCHEMA,
        os_id=release.get("ID", ""),
        os_version=release.get("VERSION_ID", ""),
        os_codename=release.get("VERSION_CODENAME", ""),
        os_name=release.get("PRETTY_NAME", release.get("ID", "")),
        arch=_require(sections, "arch").strip(),
        memory_bytes=int(memory[1]) * 1024,
        cpus=int(cpus),
        display=tuple(map(_pci, _require(sections, "pci_display").splitlines())),
        disks=tuple(map(_disk, _require(sections, "disks").splitlines())),
        virtualisation=sections.get("virtualisation", "").strip() or "unknown",
        init=_require(sections, "init").strip(),
        firmware=boot.get("firmware", "unknown"),
        boot_loader=boot.get("loader", "unknown"),
    )


def _sections(text: str) -> Mapping[str, str]:
    """Sections that were read without an error; a section that began and never ended is an error."""
    sections: dict[str, str] = {}
    name: str | None = None
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("@@begin "):
            if name is not None:
                raise _unreadable(f"section {name} has no end", "complete output of the probe")
            name, lines = line.split(" ", 1)[1], []
        elif line.startswith("@@end ") and name is not None:
            if line.split(" ")[2:] == ["0"]:
                sections[name] = "\n".join(lines)
            name = None
        elif name is not None:
            lines.append(line)
    if name is not None:
        raise _unreadable(f"section {name} has no end", "complete output of the probe")
    return sections


def _require(sections: Mapping[str, str], name: str) -> str:
    if name not in sections:
        raise _unreadable(f"no section {name}", "a host with /proc, /sys and os-release mounted")
    return sections[name]


def _release(text: str) -> Mapping[str, str]:
    """os-release(5): NAME=value lines, shell-quoted."""
    release = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not name.startswith("#"):
            try:
                release[name.strip()] = "".join(shlex.split(value))
            except ValueError:
                release[name.strip()] = value.strip("\"'")
    return release


def _pci(line: str) -> PciDevice:
    try:
        address, *ids = line.split()
        class_code, vendor, device, subsystem_vendor, subsystem_device = (i.removeprefix("0x") for i in ids)
    except ValueError as error:
        raise _unreadable(f"PCI line {line!r}", "address, class and four ids") from error
    return PciDevice(address, class_code, vendor, device, subsystem_vendor, subsystem_device)


def _disk(line: str) -> Disk:
    name, *numbers = line.split()
    if len(numbers) != 2 or not all(number.isdigit() for number in numbers):
        raise _unreadable(f"disk line {line!r}", "name, bytes, rotational")
    return Disk(name, int(numbers[0]), numbers[1] == "1")


def _unreadable(observed: str, required: str) -> GpuwrightError:
    return GpuwrightError.of(
        "host facts", observed, required, "Run the probe again, or look at the host by hand."
    )
