"""The pure parser of the probe's text: framed sections in, HostFacts out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from gpuwright.facts.model import (
    SCHEMA,
    Boot,
    Disk,
    Found,
    HostFacts,
    Machine,
    PciDevice,
    Readings,
    unreadable,
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
        raise unreadable("memory or cpus without a number", "/proc/meminfo and /proc/cpuinfo")
    return HostFacts(
        schema=SCHEMA,
        os_id=release.get("ID", ""),
        os_version=release.get("VERSION_ID", ""),
        os_codename=release.get("VERSION_CODENAME", ""),
        os_name=release.get("PRETTY_NAME", release.get("ID", "")),
        arch=_require(sections, "arch").strip(),
        memory_bytes=int(memory[1]) * 1024,
        cpus=int(cpus),
        cpu_vendor="",
        cpu_family=None,
        machine=Machine(),
        pci=tuple(map(_pci, _require(sections, "pci_display").splitlines())),
        nics=(),
        disks=tuple(map(_disk, _require(sections, "disks").splitlines())),
        virtualisation=sections.get("virtualisation", "").strip() or "unknown",
        init=_require(sections, "init").strip(),
        boot=Boot(boot.get("firmware", "unknown"), boot.get("loader", "unknown")),
        found=Found(),
        readings=Readings(),
    )


def _sections(text: str) -> Mapping[str, str]:
    """Sections that were read without an error; a section that began and never ended is an error."""
    sections: dict[str, str] = {}
    name: str | None = None
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("@@begin "):
            if name is not None:
                raise unreadable(f"section {name} has no end", "complete output of the probe")
            name, lines = line.split(" ", 1)[1], []
        elif line.startswith("@@end ") and name is not None:
            if line.split(" ")[2:] == ["0"]:
                sections[name] = "\n".join(lines)
            name = None
        elif name is not None:
            lines.append(line)
    if name is not None:
        raise unreadable(f"section {name} has no end", "complete output of the probe")
    return sections


def _require(sections: Mapping[str, str], name: str) -> str:
    if name not in sections:
        raise unreadable(f"no section {name}", "a host with /proc, /sys and os-release mounted")
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
        raise unreadable(f"PCI line {line!r}", "address, class and four ids") from error
    return PciDevice(address, class_code, vendor, device, subsystem_vendor, subsystem_device)


def _disk(line: str) -> Disk:
    name, *numbers = line.split()
    if len(numbers) != 2 or not all(number.isdigit() for number in numbers):
        raise unreadable(f"disk line {line!r}", "name, bytes, rotational")
    return Disk(name, int(numbers[0]), numbers[1] == "1")
