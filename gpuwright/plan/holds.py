"""Slice `holds`: what changes only together."""

from __future__ import annotations

from gpuwright.catalog import Catalog
from gpuwright.plan.gpu_model import DriverPlan, FabricPlan, HoldsPlan, KernelPlan, RuntimePlan
from gpuwright.plan.notes import Notes


def plan_holds(
    catalog: Catalog,
    kernel: KernelPlan,
    drivers: tuple[DriverPlan, ...],
    fabric: FabricPlan,
    runtimes: tuple[RuntimePlan, ...],
    notes: Notes,
) -> HoldsPlan:
    """The whole closure of driver, fabric, toolkit and kernel, in names that dpkg knows.

    What apt brings with them has no name here: unattended upgrades leave it alone by pattern.
    """
    names = [*kernel.packages]
    for part in (*(driver.names for driver in drivers), fabric.packages, *(r.packages for r in runtimes)):
        names += part
    owners = {driver.vendor for driver in drivers if driver.packages}
    if kernel.packages or any(driver.delivery in ("dkms", "prebuilt") for driver in drivers):
        owners.add("kernel")
    patterns: tuple[str, ...] = ()
    for row in catalog.nvidia.unattended:
        for pattern in row.patterns if row.of in owners else ():
            notes.why(f"holds.unattended.{len(patterns)}", f"{row.of}: part of the locked set", row.source)
            patterns += (pattern,)
    notes.why(
        "holds",
        "driver, its fabric and toolkit, and the kernel change only together"
        if names
        else "nothing of ours to hold",
        "an upgrade of one of them under the others ends in a driver that does not load",
    )
    return HoldsPlan(tuple(sorted(set(names))), patterns)
