"""What a composed machine is written in: the [compose] table of machine.toml, and the parts of parts.toml."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from gpuwright.facts.model import Driver

UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


def _size(text: str) -> str:
    if not re.fullmatch(r"[0-9]+[KMG]?", text):
        raise ValueError(f"{text} is no size such as 128, 16M or 32G")
    return text


Size = Annotated[str, AfterValidator(_size)]


class Written(BaseModel):
    """Unknown keys are errors; lists of TOML become tuples."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Function(Written):
    """A PCI function, by "vendor:device" in parts.toml; "vendor:device-word" is another with the same ids.

    `bars` by BAR number, as on a board whose firmware grants what the card asks for; `window` is the number of the
    one that shows VRAM, `resizable` whether it is 256 MiB without Resizable BAR. `card` are the bridges on the card
    itself, upstream port first; `port` makes it a switch, each slot behind which has such a port of its own.
    `driver` is the network driver of a NIC, `bytes` the size of a disk.
    """

    class_code: str = Field(alias="class", pattern="^[0-9a-f]{6}$")
    subsystem: str = ""
    bars: tuple[Size, ...] = ()
    window: int | None = None
    resizable: bool = False
    link: tuple[float, int] | None = None
    card: tuple[str, ...] = ()
    port: str = ""
    acs: bool | None = None
    driver: str = ""
    rdma: bool = False
    bytes: int = 0
    source: str


class KernelPart(Written):
    """A distribution's kernel: config symbols that matter ("n" for unset), GPU modules, and its packages there."""

    release: str
    config: dict[str, str]
    modules: tuple[str, ...]
    packages: tuple[tuple[str, str], ...] = ()
    source: str


class Release(Written):
    """os-release(5)."""

    os_id: str
    version: str
    codename: str
    name: str
    source: str


class Processor(Written):
    """/proc/cpuinfo, and the PCI function of its root ports."""

    arch: str = "x86_64"
    vendor: str
    family: int | None = None
    cpus: int
    root_port: str = ""
    source: str


class Parts(Written):
    """parts.toml."""

    function: dict[str, Function]
    kernel: dict[str, KernelPart]
    release: dict[str, Release]
    processor: dict[str, Processor]


class Slot(Written):
    """What is plugged in: a part, and where it is a bridge the slots `behind` it."""

    part: str
    behind: tuple[Slot | str, ...] = ()
    boot_display: bool = False
    passthrough: bool = False


class Segment(Written):
    """A root bus. `ports` false puts the slots on the bus itself, as hypervisors do; `first` is a device number."""

    at: str = Field(pattern="^[0-9a-f]{4}:[0-9a-f]{2}$")
    slots: tuple[Slot | str, ...]
    numa: int | None = None
    ports: bool = True
    first: int = 1
    source: str


class BootPart(Written):
    firmware: str = "uefi"
    loader: str = "grub"
    secure_boot: str = "disabled"
    grubenv: str = "plain"


class Dmi(Written):
    vendor: str
    product: str
    board: str
    source: str


class FoundPart(Written):
    """What earlier hands left, beside the kernel's own packages; without `drivers` the kernel's own are loaded."""

    drivers: tuple[Driver, ...] | None = None
    packages: tuple[tuple[str, str], ...] = ()
    leftovers: tuple[tuple[str, str], ...] = ()
    headers: bool = True
    source: str


class Composition(Written):
    """A machine in a screenful. `resizable_bar`: the firmware has it switched on."""

    release: str
    kernel: str
    processor: str
    cpus: int | None = None
    memory_gib: int
    dmi: Dmi
    virtualisation: str = "none"
    boot: BootPart = BootPart()
    cmdline: str = "ro quiet"
    resizable_bar: bool = True
    segment: tuple[Segment, ...] = ()
    found: FoundPart | None = None


@cache
def parts() -> Parts:
    """parts.toml. Raises pydantic's ValidationError for a part that is wrong."""
    return Parts.model_validate(tomllib.loads((Path(__file__).parent / "parts.toml").read_text()))


def bytes_of(size: str) -> int:
    """16M as bytes."""
    return int(size.rstrip("KMG")) * UNITS[size.lstrip("0123456789")]
