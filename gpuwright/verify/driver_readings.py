"""What was read of a host's GPU driver and its kernels, typed; None is what could not be read."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gpuwright.errors import GpuwrightError
from gpuwright.operations.card_power import pci_address
from gpuwright.operations.locked_packages import LockedPackages, Packages
from gpuwright.verify import kernel_log
from gpuwright.verify.readings import ABSENT, Readings


@dataclass(frozen=True)
class CountedGpu:
    """A GPU as its driver lists it: PCI address, and the device node that programs open."""

    address: str
    node: str


@dataclass(frozen=True)
class ModuleFile:
    """What modprobe would load; `version` and `signer` are "" where the file names none."""

    path: str
    version: str
    signer: str


@dataclass(frozen=True)
class Rival:
    """A module that could take the cards: whether it is loaded, and whether modprobe's configuration bars it."""

    loaded: bool
    barred: bool


@dataclass(frozen=True)
class Smi:
    """What nvidia-smi said: its exit code, (driver version, persistence mode) by PCI address, and its first line."""

    code: int
    gpus: dict[str, tuple[str, str]]
    said: str


def counted(readings: Readings, vendor: str) -> tuple[CountedGpu, ...] | None:
    """The GPUs that a vendor's driver counts, in address order; partitions of one are one."""
    rows = readings.rows("counted", 3)
    if rows is None:
        return None
    found: dict[str, str] = {}
    for whose, place, node in rows:
        address = place if whose == "nvidia" else _kfd_address(place)
        if address is None:
            return None
        if whose == vendor:
            found.setdefault(address, node)
    return tuple(CountedGpu(*each) for each in sorted(found.items()))


def modules(readings: Readings) -> dict[tuple[str, str], ModuleFile | None] | None:
    """Module files by kernel and name; None where that kernel has none."""
    rows = readings.rows("modules", 5)
    if rows is None:
        return None
    return {
        (kernel, name): None if path == ABSENT else ModuleFile(path, version, signer)
        for kernel, name, path, version, signer in rows
    }


def boots(readings: Readings) -> dict[str, int | None] | None:
    """When the initramfs of each kernel below /boot was made, in ns since the epoch; None where it has none."""
    return readings.columns("boots", 2, lambda row: None if row[0] == ABSENT else int(row[0]))


def next_kernels(readings: Readings) -> tuple[str, ...] | None:
    """Kernels that could boot next: the one that runs, the newest below /boot, and what the boot loader was told."""
    found, chosen = boots(readings), readings.sections.get("boot_choice")
    if found is None or chosen is None:
        return None
    newest = sorted(found, key=_order)[-1:]
    named = [release for release in found if release in chosen]
    return tuple(dict.fromkeys((readings.facts.readings.kernel_release, *newest, *named)))


def option_files(readings: Readings) -> dict[str, int] | None:
    """When planned files of modprobe's configuration were changed, in ns since the epoch; absent ones are missing."""
    return readings.columns("option_files", 2, lambda row: int(row[0]))


def kernels_of(readings: Readings) -> set[str] | None:
    """The releases that the planned kernel packages bring, as dpkg says."""
    rows = readings.columns("metapackages", 2, lambda row: row[0])
    if rows is None:
        return None
    text = " ".join((*rows, *rows.values()))
    return set(re.findall(r"\blinux-image-(?:unsigned-)?(\d[^\s,]*)", text))


def locked_packages(readings: Readings) -> Packages | None:
    """What dpkg has of the locked sets' names and patterns."""
    text = readings.sections.get("locked")
    try:
        return (
            None if text is None else LockedPackages().process([line for line in text.splitlines() if line])
        )
    except (GpuwrightError, ValueError):
        return None


def rivals(readings: Readings) -> dict[str, Rival] | None:
    """Modules that the plan bars from the cards, by name."""
    return readings.columns("rivals", 3, lambda row: Rival(row[0] == "yes", row[1] == "yes"))


def log(readings: Readings) -> kernel_log.KernelLog | None:
    """What drivers logged since the boot."""
    return kernel_log.parse(readings.sections.get("kernel_log"))


def smi(readings: Readings) -> Smi | None:
    """None where nvidia-smi did not end, too."""
    lines = readings.names("nvidia_smi") or ()
    found = re.fullmatch(r"exit (\d+)", lines[-1]) if lines else None
    if found is None:
        return None
    rows = [[column.strip() for column in line.split(",")] for line in lines[:-1]]
    gpus = {pci_address(row[0]): (row[1], row[2]) for row in rows if len(row) == 3 and ":" in row[0]}
    return Smi(int(found[1]), gpus, lines[0] if len(lines) > 1 else "nothing")


def loaded_version(readings: Readings, name: str) -> str | None:
    """The version of a loaded module; "" where it names none, None where it is not loaded."""
    drivers = readings.facts.found.drivers
    return next((each.version for each in drivers if each.name == name and each.loaded), None)


def _order(release: str) -> list[int]:
    """Where a kernel stands among others: 6.8.0-100-generic after 6.8.0-52-generic."""
    return [int(number) for number in re.findall(r"\d+", release)]


def _kfd_address(place: str) -> str | None:
    """`domain:location_id`, in decimal, as a PCI address (kfd_topology.c: bus << 8 | device << 3 | function)."""
    found = re.fullmatch(r"(\d+):(\d+)", place)
    if found is None:
        return None
    domain, location = int(found[1]), int(found[2])
    return f"{domain:04x}:{location >> 8 & 0xFF:02x}:{location >> 3 & 0x1F:02x}.{location & 7}"
