"""What a deploy, a boot or time changes, from the probe's sections."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gpuwright.facts.model import InstalledPackage, LinkNow, Readings, unreadable
from gpuwright.facts.sections import Sections, number

# apt's "one-line style"; options may hold spaces, a flat repository has no components
_ONE_LINE = re.compile(r"deb[ \t]+(?:\[[^\]]*\][ \t]*)?(\S+)[ \t]+(\S+)[ \t]*(.*)")
_ENGINES = ("docker", "podman", "containerd")


def parse_readings(
    sections: Sections, links: tuple[LinkNow, ...], packages: tuple[InstalledPackage, ...]
) -> Readings:
    """GpuwrightError for a damaged line; a section that is missing was not read."""
    kernel = pairs(sections, "kernel")
    space = _space(sections)
    engines = (f"{each.name} {each.version}" for each in packages if each.name.startswith(_ENGINES))
    return Readings(
        kernel_release=kernel.get("release", ""),
        cmdline=kernel.get("cmdline", ""),
        links=links,
        iommu_groups=number(sections.word("iommu")),
        shm_bytes=space.get("/dev/shm", (None, None))[0],
        boot_free_bytes=space.get("/boot", (None, None))[1],
        dkms=_dkms(sections),
        apt_sources=tuple(_apt_sources(sections)),
        pins=tuple(_pins(sections)),
        holds=tuple(sorted({line[5:] for line in sections.lines("packages") if line.startswith("hold ")})),
        firmware=tuple(sorted(line for line in sections.lines("firmware") if line)),
        engines=(*engines, *sections.lines("engines")),
        serials=tuple(pairs(sections, "serials").items()),
        denied=sections.denied,
    )


def pairs(sections: Sections, name: str) -> dict[str, str]:
    """Lines of a name and its value. GpuwrightError for one without a value."""
    found = {}
    for line in sections.lines(name):
        key, _, value = line.partition(" ")
        if not value.strip():
            raise unreadable(f"line {line!r} of {name}", "a name and its value")
        found[key] = value.strip()
    return found


def _space(sections: Sections) -> dict[str, tuple[int, int]]:
    """Size and free bytes by path, from `df -Pk`, whose row ends with blocks, used, free, percent and mount point."""
    space = {}
    path = ""
    for line in sections.lines("space"):
        row = re.fullmatch(r".*\s([0-9]{1,15})\s+[0-9]+\s+([0-9]{1,15})\s+([0-9]+%|-)\s+/.*", line)
        if line.startswith("path "):
            path = line[5:]
        elif row:
            space[path] = (int(row[1]) * 1024, int(row[2]) * 1024)
        elif not line.startswith("Filesystem"):
            raise unreadable(f"df line {line!r}", "the output of df -Pk")
    return space


def _dkms(sections: Sections) -> tuple[str, ...]:
    """MODULE/VERSION and the kernel it is built for, or "added" where it is built for none."""
    added: set[str] = set()
    built: set[tuple[str, str]] = set()
    for line in sections.lines("dkms"):
        parts = line.split("/")
        if len(parts) == 2:
            added.add(line)
        elif len(parts) == 4:
            built.add(("/".join(parts[:2]), parts[2]))
        else:
            raise unreadable(f"dkms line {line!r}", "MODULE/VERSION, or MODULE/VERSION/KERNEL/ARCH")
    waiting = {(module, "added") for module in added - {module for module, _ in built}}
    return tuple(f"{module} {kernel}" for module, kernel in sorted(built | waiting))


def _apt_files(sections: Sections) -> Iterator[tuple[str, list[str]]]:
    path = ""
    lines: list[str] = []
    for line in (*sections.lines("apt"), "file "):
        if line.startswith("file "):
            if path:
                yield path, lines
            path, lines = line[5:], []
        else:
            lines.append(line)


def _apt_sources(sections: Sections) -> Iterator[str]:
    """URI, suite and components of every enabled binary source; apt's own reading of a wrong one is not ours."""
    for path, lines in _apt_files(sections):
        if path.endswith(".list"):
            for found in map(_ONE_LINE.fullmatch, lines):
                if found:
                    yield " ".join(part.strip() for part in found.groups() if part.strip())
        elif path.endswith(".sources"):
            for stanza in _stanzas(lines):
                if "deb" not in stanza.get("Types", "").split() or stanza.get("Enabled", "yes") == "no":
                    continue
                for uri in stanza.get("URIs", "").split():
                    for suite in stanza.get("Suites", "").split():
                        yield " ".join((uri, suite, *stanza.get("Components", "").split()))


def _pins(sections: Sections) -> Iterator[str]:
    """PACKAGE: PIN = PRIORITY (apt_preferences(5))."""
    for path, lines in _apt_files(sections):
        if path.startswith("/etc/apt/preferences"):
            for stanza in _stanzas(lines):
                values = (stanza.get(name, "") for name in ("Package", "Pin", "Pin-Priority"))
                yield "{}: {} = {}".format(*values)


def _stanzas(lines: list[str]) -> Iterator[dict[str, str]]:
    """deb822(5): fields, continued on lines that begin with a space; stanzas end with an empty line."""
    stanza: dict[str, str] = {}
    field = ""
    for line in (*lines, ""):
        name, colon, value = line.partition(":")
        if not line.strip():
            if stanza:
                yield stanza
            stanza, field = {}, ""
        elif line[0] in " \t":
            if field:
                stanza[field] += " " + line.strip()
        elif colon:
            field = name.strip()
            stanza[field] = value.strip()
