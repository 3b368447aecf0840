"""The pure parser of the probe's text: framed sections in, HostFacts out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping

from gpuwright.facts.model import SCHEMA, Boot, Disk, HostFacts, Machine, unreadable
from gpuwright.facts.parse_found import parse_found
from gpuwright.facts.parse_pci import parse_nics, parse_pci
from gpuwright.facts.parse_readings import pairs, parse_readings
from gpuwright.facts.sections import Sections, number, read_sections, words


def parse(text: str) -> HostFacts:
    """The probe's output as HostFacts.

    Raises GpuwrightError when the text was cut off, a line is damaged, or a section that every host has is missing:
    a host that cannot be read is refused, never guessed at. Other missing sections are unknown, or nothing.
    """
    sections = read_sections(text)
    release = _release(sections.required("os_release"))
    cpus, cpu_vendor, cpu_family = _cpus(sections)
    machine = pairs(sections, "machine")
    pci, links = parse_pci(sections)
    found = parse_found(sections, pairs(sections, "kernel").get("release", ""))
    return HostFacts(
        schema=SCHEMA,
        os_id=release.get("ID", ""),
        os_version=release.get("VERSION_ID", ""),
        os_codename=release.get("VERSION_CODENAME", ""),
        os_name=release.get("PRETTY_NAME", release.get("ID", "")),
        arch=_one(sections, "arch"),
        memory_bytes=_memory(sections),
        cpus=cpus,
        cpu_vendor=cpu_vendor,
        cpu_family=cpu_family,
        machine=Machine(
            machine.get("sys_vendor", ""), machine.get("product_name", ""), machine.get("board_name", "")
        ),
        pci=pci,
        nics=parse_nics(sections),
        disks=tuple(map(_disk, sections.required("disks"))),
        virtualisation=sections.word("virtualisation") or "unknown",
        init=_one(sections, "init"),
        boot=_boot(sections),
        found=found,
        readings=parse_readings(sections, links, found.packages),
    )


def _one(sections: Sections, name: str) -> str:
    lines = sections.required(name)
    if len(lines) != 1 or not lines[0].strip():
        raise unreadable(f"section {name} with {len(lines)} lines", "one word")
    return lines[0].strip()


def _memory(sections: Sections) -> int:
    found = re.fullmatch(r"MemTotal:\s+([0-9]{1,15}) kB", "\n".join(sections.required("memory")).strip())
    if found is None:
        raise unreadable("memory without a number", "MemTotal of /proc/meminfo")
    return int(found[1]) * 1024


def _cpus(sections: Sections) -> tuple[int, str, int | None]:
    """How many, vendor and family: "" and None where /proc/cpuinfo does not say."""
    count, *first = sections.required("cpus") or ("",)
    cpus = number(count.strip())
    if cpus is None:
        raise unreadable("cpus without a number", "/proc/cpuinfo")
    vendor = words(first[0], 1, 2, "processor", "vendor and family") if first else [""]
    return cpus, vendor[0], number(vendor[1]) if len(vendor) == 2 else None


def _boot(sections: Sections) -> Boot:
    sections.required("boot")
    boot = pairs(sections, "boot")
    if not {"firmware", "loader"} <= boot.keys():
        raise unreadable("boot without firmware or loader", "both")
    return Boot(
        boot["firmware"], boot["loader"], boot.get("secure_boot", "unknown"), boot.get("grubenv", "unknown")
    )


def _release(lines: Iterable[str]) -> Mapping[str, str]:
    """os-release(5): NAME=value lines, shell-quoted."""
    release = {}
    for line in lines:
        name, equals, value = line.partition("=")
        if equals and not name.startswith("#"):
            try:
                release[name.strip()] = "".join(shlex.split(value))
            except ValueError:
                release[name.strip()] = value.strip("\"'")
    return release


def _disk(line: str) -> Disk:
    name, size, rotational = words(line, 3, 3, "disk", "name, bytes, rotational")
    count = number(size)
    if count is None or rotational not in ("0", "1"):
        raise unreadable(f"disk line {line!r}", "name, bytes, rotational")
    return Disk(name, count, rotational == "1")
