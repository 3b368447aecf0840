"""Slice `fabric`: NVSwitch, and NVLink between machines."""

from __future__ import annotations

from typing import Literal

from gpuwright.catalog import Catalog
from gpuwright.facts import NVIDIA, HostFacts
from gpuwright.plan.gpu_model import DriverPlan, FabricPlan, Gpu
from gpuwright.plan.imex import WHOSE, with_imex
from gpuwright.plan.notes import Notes
from gpuwright.settings import HostSettings

NOTHING = FabricPlan((), (), (), ())


def plan_fabric(
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    gpus: tuple[Gpu, ...],
    drivers: tuple[DriverPlan, ...],
    notes: Notes,
) -> FabricPlan:
    """Fabric manager and companions where the host has NVSwitches, and nowhere else; IMEX where it shares memory."""
    driver = next((driver for driver in drivers if driver.vendor == "nvidia"), None)
    plan = _switched(facts, catalog, gpus, driver, notes)
    if driver is None:
        return plan
    return with_imex(plan, facts, settings, catalog, gpus, driver, notes)


def _switched(
    facts: HostFacts, catalog: Catalog, gpus: tuple[Gpu, ...], driver: DriverPlan | None, notes: Notes
) -> FabricPlan:
    switches = nvswitches(facts, catalog, gpus)
    if not switches or driver is None:
        reason = "no GPU of this host is ours to run" if switches else "no NVSwitch"
        notes.why(
            "fabric", reason, "fabric manager fails to start where there is no NVSwitch (its user guide)"
        )
        return NOTHING
    if driver.source == "unmanaged":
        return _of_another_hand(facts, driver, notes)
    os = facts.release
    branch = int(driver.branch)
    rows = catalog.nvidia.fabrics
    row = next(
        (row for row in rows if row.source_of == driver.source and os in row.os and row.has(branch)), None
    )
    nvlink5 = catalog.nvidia.nvlink5[0]
    if row is None or (switches == "board" and nvlink5.source_of != driver.source):
        lacking = f"fabric manager of branch {branch}" if row is None else nvlink5.packages[0]
        notes.refuse(
            "fabric manager",
            f"the host has NVSwitches, and {WHOSE[driver.source]} packages for {os} have no {lacking}",
            "fabric manager at the driver's very version; without it CUDA answers error 802",
            'Set nvidia_driver_source = "nvidia" or "auto" and nvidia_driver_existing = "replace".',
        )
        return NOTHING
    notes.why("fabric", "NVSwitches, at exactly the driver's version", row.source)
    packages = tuple(name.format(branch=branch) for name in row.packages)
    modules: tuple[str, ...] = ()
    if switches == "board":
        packages, modules = packages + nvlink5.packages, nvlink5.modules
        notes.why("fabric.modules", "NVLink 5: the switches are reached over InfiniBand", nvlink5.source)
    return FabricPlan(packages, row.components, modules, row.units)


def nvswitches(facts: HostFacts, catalog: Catalog, gpus: tuple[Gpu, ...]) -> Literal["", "bus", "board"]:
    """Whether the host has NVSwitches of its own: on the bus, or on a board that hides them (NVLink 5).

    A guest with some of a board's GPUs has none: the machine around it keeps the switches.
    """
    classes = tuple(row.class_code for row in catalog.nvidia.switches)
    if any(d.vendor == NVIDIA and d.class_code.startswith(classes) and not d.passthrough for d in facts.pci):
        return "bus"
    for board in catalog.nvidia.boards:
        count = sum(gpu.name in board.gpus and gpu.use == "compute" for gpu in gpus)
        if count >= board.count or (count and facts.virtualisation == "none"):
            return "board"
    return ""


def _of_another_hand(facts: HostFacts, driver: DriverPlan, notes: Notes) -> FabricPlan:
    outer = facts.in_container or any(found.origin == "outside" for found in facts.found.drivers)
    notes.why("fabric", "the machine around this container runs it", "it must have the driver's very version")
    if not outer:
        notes.refuse(
            "fabric manager",
            f"the host has NVSwitches, and its driver ({driver.branch}) came from no package that a fabric manager "
            "could match",
            "driver and fabric manager of one version from one source",
            "Run nvidia-uninstall, reboot, and run again: packages then bring both.",
        )
    return NOTHING
