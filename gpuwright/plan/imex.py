"""IMEX: memory of GPUs in other machines of one NVLink domain. Part of slices `fabric` and `drivers`."""

from __future__ import annotations

from collections.abc import Iterable

from gpuwright.catalog import Catalog
from gpuwright.catalog.nvlink import ImexUse
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import DriverPlan, FabricPlan, Gpu
from gpuwright.plan.notes import Notes
from gpuwright.settings import HostSettings

WHOSE = {"distribution": "the distribution's", "nvidia": "NVIDIA's"}


def imex_use(gpus: Iterable[Gpu], settings: HostSettings, catalog: Catalog) -> ImexUse | None:
    """How this host uses IMEX; None where nothing of it is wanted."""
    use = catalog.nvidia.imex_use[0]
    declared = settings.nvidia_driver.nvidia_driver_imex
    ours = any(gpu.vendor == "nvidia" and gpu.use == "compute" for gpu in gpus)
    multi_node = any(gpu.name in use.gpus and gpu.use == "compute" for gpu in gpus)
    return use if (ours and declared == "on") or (multi_node and declared == "auto") else None


def with_imex(
    plan: FabricPlan,
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    gpus: tuple[Gpu, ...],
    driver: DriverPlan,
    notes: Notes,
) -> FabricPlan:
    """`plan` with IMEX at exactly the driver's version, where the host uses it; refused where no source has it."""
    use = imex_use(gpus, settings, catalog)
    if use is None or driver.source == "unmanaged":
        return plan
    branch = int(driver.branch)
    rows = catalog.nvidia.imex
    row = next((each for each in rows if each.fits(driver.source, facts.release, branch)), None)
    if row is None:
        notes.refuse(
            "imex",
            f"this host uses it, and {WHOSE[driver.source]} packages for {facts.release} have none of branch {branch}",
            "nvidia-imex at exactly the driver's version",
            'Set nvidia_driver_branch and nvidia_driver_source to "auto"; or nvidia_driver_imex = "off".',
        )
        return plan
    declared = settings.nvidia_driver.nvidia_driver_imex == "on"
    reason = "declared" if declared else "GPUs of one NVLink domain are in several machines"
    for index in range(len(plan.packages), len(plan.packages) + len(row.packages)):
        notes.why(f"fabric.packages.{index}", f"IMEX: {reason}; at exactly the driver's version", row.source)
    nodes = settings.nvidia_driver.nvidia_driver_imex_nodes
    if nodes:
        why = "nvidia_driver_imex_nodes; without them whoever starts a job starts it"
        notes.why(f"fabric.units.{len(plan.units)}", why, use.source)
    return FabricPlan(
        plan.packages + tuple(name.format(branch=branch) for name in row.packages),
        tuple(dict.fromkeys(plan.components + row.components)),
        plan.modules,
        plan.units + ((use.unit,) if nodes else ()),
    )
