"""Slice `gpus`: which cards the host has, and whose they are."""

from __future__ import annotations

from gpuwright.catalog import Catalog
from gpuwright.catalog.gpus import GpuRow
from gpuwright.facts import AMD, NVIDIA, HostFacts, PciDevice
from gpuwright.plan.gpu_model import Gpu
from gpuwright.plan.notes import Notes
from gpuwright.settings import HostSettings

VENDORS = {NVIDIA: "nvidia", AMD: "amd"}
GIB = 1024**3


def plan_gpus(facts: HostFacts, settings: HostSettings, catalog: Catalog, notes: Notes) -> tuple[Gpu, ...]:
    """Every NVIDIA and AMD GPU with its use; a card that the catalogue does not know is refused by its ids.

    One that nobody computes with needs no row: it gets nothing, and is named by its ids.
    """
    _declared_exist(facts, settings, notes)
    rows = [(device, _row(device, catalog)) for device in facts.gpus]
    gpus: list[Gpu] = []
    for device, row in rows:
        if row is None:
            foreign = _left_alone(device, settings)
            if foreign is None:
                _unknown(device, notes)
                continue
            notes.why(f"gpus.{len(gpus)}", foreign[1], "PCI bus, or the setting that is named")
            ids = f"{device.vendor}:{device.device}"
            gpus.append(Gpu(device.address, ids, VENDORS[device.vendor], "unknown", "unknown", 0, foreign[0]))
            continue
        use, reason = _use(device, row, [r for _, r in rows if r], settings)
        path = f"gpus.{len(gpus)}"
        notes.why(path, "on the PCI bus, known by its ids", row.source)
        notes.why(f"{path}.use", reason, "DESIGN: display cards and integrated GPUs are left alone")
        gpus.append(
            Gpu(
                device.address,
                row.name,
                VENDORS[row.vendor],
                row.arch,
                row.target,
                int(row.memory_gb * GIB),
                use,
            )
        )
    return tuple(gpus)


def _row(device: PciDevice, catalog: Catalog) -> GpuRow | None:
    return catalog.gpus.row(device.vendor, device.device, device.subsystem)


def _left_alone(device: PciDevice, settings: HostSettings) -> tuple[str, str] | None:
    """Whose the GPU is when it is not ours, and why."""
    if device.passthrough:
        return "passthrough", "bound to vfio-pci: it belongs to a guest"
    if device.address in settings.interconnect.interconnect_display_gpus:
        return "display", "interconnect_display_gpus"
    return None


def _use(device: PciDevice, row: GpuRow, others: list[GpuRow], settings: HostSettings) -> tuple[str, str]:
    """What the GPU is for, and why."""
    if device.address in settings.interconnect.interconnect_compute_gpus and not device.passthrough:
        return "compute", "interconnect_compute_gpus"
    foreign = _left_alone(device, settings)
    if foreign:
        return foreign
    if row.kind == "integrated" and any(other.kind != "integrated" for other in others):
        return "display", "an integrated GPU beside a card of its own: the desktop's"
    return "compute", "a card for computing"


def _unknown(device: PciDevice, notes: Notes) -> None:
    notes.refuse(
        f"gpu {device.address}",
        f"{device.vendor}:{device.device} (subsystem {device.subsystem}) is not in the catalogue",
        "a card whose driver, memory and limits are known",
        "Add a row with its source to gpuwright/catalog/gpus_*.toml, or remove the card; one that only draws the "
        f'desktop is left alone with interconnect_display_gpus = ["{device.address}"].',
    )


def _declared_exist(facts: HostFacts, settings: HostSettings, notes: Notes) -> None:
    there = {device.address for device in facts.gpus}
    ours = settings.interconnect
    both = set(ours.interconnect_display_gpus) & set(ours.interconnect_compute_gpus)
    for address in sorted(both):
        notes.refuse(
            f"gpu {address}",
            "declared for display and for computing",
            "one owner for each GPU",
            "Remove it from interconnect_display_gpus or from interconnect_compute_gpus.",
        )
    for address in (*ours.interconnect_display_gpus, *ours.interconnect_compute_gpus):
        if address not in there:
            notes.refuse(
                f"gpu {address}",
                f"declared, and the host's GPUs are {', '.join(sorted(there)) or 'none'}",
                "a GPU that is on the bus",
                "Correct the address (gpuwright facts HOST lists them).",
            )
