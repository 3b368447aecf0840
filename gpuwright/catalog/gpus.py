"""GPUs by PCI id: gpus.toml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gpuwright.catalog.row import Row


class GpuRow(Row):
    """One GPU on the bus; a card of two dies is two rows' worth of devices.

    `devices` are PCI device ids, `subsystems` ("vendor:device") narrow an id that cards share. `arch` groups cards
    that a driver treats alike (pascal, ada, hopper, rdna3, cdna3); `target` is what code is compiled for: sm_89,
    gfx942. `memory_gb` is the size on the data sheet (GB = 2**30 bytes), `bandwidth_gbs` 1e9 bytes/s, `tflops` dense
    16-bit with 32-bit accumulation, None where not known. `visible_mib` is what the driver shows of the memory, with
    ECC as the card comes; None where nobody looked. `link` is what joins it to others of its kind. `p2p` is what the
    stock driver allows over PCIe. `kind` integrated marks a GPU that shares the processor's memory.
    """

    vendor: Literal["10de", "1002"]
    devices: tuple[str, ...]
    subsystems: tuple[str, ...] = ()
    name: str
    arch: str
    target: str
    memory_gb: float
    visible_mib: int | None = None
    bandwidth_gbs: float | None = None
    tflops: float | None = None
    link: Literal["none", "nvlink-bridge", "nvlink", "nvswitch", "xgmi", "xgmi-bridge", "c2c"]
    p2p: bool
    pcie: int
    watts: int | None = None
    kind: Literal["consumer", "workstation", "datacenter", "integrated"]

    @property
    def visible_bytes(self) -> int:
        """What the driver shows of the memory; where nobody looked, all of it."""
        mib = self.visible_mib if self.visible_mib is not None else int(self.memory_gb * 1024)
        return mib * 1024**2


class PriceRow(Row):
    """What one card costs, in US dollars; `gpu` is a row's name."""

    gpu: str
    usd: int


@dataclass(frozen=True)
class GpuCatalog:
    """All GPU rows, in file order."""

    rows: tuple[GpuRow, ...]

    def row(self, vendor: str, device: str, subsystem: str) -> GpuRow | None:
        """The row of a PCI id; one that names the subsystem ("1002:0e3b") wins over one that names none."""
        rows = [row for row in self.rows if row.vendor == vendor and device in row.devices]
        named = [row for row in rows if subsystem in row.subsystems]
        return next(iter(named or [row for row in rows if not row.subsystems]), None)
