"""PCI functions, as they are and as they run now, and network interfaces, from the probe's sections."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gpuwright.facts.model import LinkNow, Nic, PciDevice, unreadable
from gpuwright.facts.sections import Sections, number, words

ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]")
_FORM = "address, class, four ids, name=value ..."
_NAMES = {
    "path",
    "numa_node",
    "max_link_speed",
    "max_link_width",
    "current_link_speed",
    "current_link_width",
    "boot_vga",
    "driver",
    "iommu_group",
    "bars",
}


@dataclass(frozen=True)
class _Function:
    address: str
    ids: tuple[str, ...]
    more: Mapping[str, str]
    acs: str | None


def parse_pci(sections: Sections) -> tuple[tuple[PciDevice, ...], tuple[LinkNow, ...]]:
    """What each function is, and how it runs now; both in address order. GpuwrightError for a damaged line."""
    control = dict(map(_acs, sections.lines("acs")))
    functions = sorted(
        (_function(line, control) for line in sections.required("pci")), key=lambda each: each.address
    )
    if len({each.address for each in functions}) != len(functions):
        raise unreadable("a PCI address twice", "each PCI function once")
    return tuple(map(_device, functions)), tuple(map(_link, functions))


def parse_nics(sections: Sections) -> tuple[Nic, ...]:
    """Interfaces by name, then RDMA devices that have none. GpuwrightError for a damaged line."""
    hardware: dict[str, tuple[str, str]] = {}
    rdma: dict[str, list[str]] = {}
    routes: set[str] = set()
    for line in sections.lines("nics"):
        kind, name, *more = words(line, 2, 4, "network", "nic, rdma or route, and a name")
        if kind == "nic" and more:
            hardware[name] = _address(more[0]), "".join(more[1:])
        elif kind == "rdma" and len(more) == 1:
            rdma.setdefault(_address(more[0]), []).append(name)
        elif kind == "route" and not more:
            routes.add(name)
        else:
            raise unreadable(f"network line {line!r}", "nic, rdma or route, and a name")
    nics = []
    for name in sorted({*hardware, *routes}):
        pci, driver = hardware.get(name, ("", ""))
        devices = rdma.pop(pci, []) if pci else []
        nics.append(Nic(name, pci, driver, devices[0] if devices else "", name in routes))
    alone = sorted((device, pci) for pci, devices in rdma.items() for device in devices)
    return (*nics, *(Nic("", pci, "", device) for device, pci in alone))


def _function(line: str, control: Mapping[str, str]) -> _Function:
    address, *rest = words(line, 6, 16, "PCI", _FORM)
    ids = tuple("" if word == "-" else word.removeprefix("0x") for word in rest[:5])
    good = ADDRESS.fullmatch(address) and re.fullmatch(r"[0-9a-f]{6}( [0-9a-f]{4}){2}", " ".join(ids[:3]))
    if not good or not all(re.fullmatch(r"([0-9a-f]{4})?", each) for each in ids[3:]):
        raise unreadable(f"PCI line {line!r}", _FORM)
    pairs = [word.partition("=") for word in rest[5:]]
    if any(name not in _NAMES or not equals for name, equals, _ in pairs):
        raise unreadable(f"PCI line {line!r}", _FORM)
    return _Function(address, ids, {name: value for name, _, value in pairs}, control.get(address))


def _device(function: _Function) -> PciDevice:
    more = function.more
    class_code, vendor, device, subsystem_vendor, subsystem_device = function.ids
    parts = more.get("path", "").split("/")[:-1]
    return PciDevice(
        function.address,
        class_code,
        vendor,
        device,
        subsystem_vendor,
        subsystem_device,
        parents=tuple(part for part in parts if ADDRESS.fullmatch(part)),
        numa=number(more.get("numa_node", "")),  # -1: the firmware does not say
        bars=tuple(_bar(pair) for pair in more.get("bars", "").split(",") if pair),
        link_speed_max=_speed(more.get("max_link_speed", "")),
        link_width_max=_width(more.get("max_link_width", "")),
        boot_display=more.get("boot_vga") == "1",
        acs=None if function.acs is None else function.acs != "none",
        passthrough=more.get("driver") == "vfio-pci",
    )


def _link(function: _Function) -> LinkNow:
    more = function.more
    return LinkNow(
        function.address,
        more.get("driver", ""),
        _speed(more.get("current_link_speed", "")),
        _width(more.get("current_link_width", "")),
        more.get("iommu_group", ""),
        "" if function.acs in (None, "none") else str(function.acs),
    )


def _acs(line: str) -> tuple[str, str]:
    address, control = words(line, 2, 2, "ACS", "address and control word")
    if not re.fullmatch(r"none|[0-9a-f]{4}", control):
        raise unreadable(f"ACS line {line!r}", "address and control word")
    return address, control


def _bar(pair: str) -> int:
    """START-END of sysfs's `resource`, both zero for a BAR that is not there."""
    found = re.fullmatch(r"0x([0-9a-f]{1,16})-0x([0-9a-f]{1,16})", pair)
    start, end = (int(each, 16) for each in found.groups()) if found else (1, 0)
    if start > end:
        raise unreadable(f"BAR {pair!r}", "start and end in hexadecimal")
    return end - start + 1 if end else 0


def _speed(text: str) -> float | None:
    """GT/s; None for "Unknown"."""
    return float(text) if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,2})?", text) else None


def _width(text: str) -> int | None:
    """Lanes; the kernel writes 0 or 255 for a link that it knows nothing of."""
    lanes = number(text)
    return None if lanes in (0, 255) else lanes


def _address(path: str) -> str:
    """The PCI function of a network device's path, "" for one on USB; virtio devices lie one below theirs."""
    parts: Iterable[str] = path.split("/")
    last = [part for part in parts if not re.fullmatch(r"virtio[0-9]+", part)][-1:]
    return last[0] if last and ADDRESS.fullmatch(last[0]) else ""
