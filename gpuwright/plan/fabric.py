"""Slice `fabric`: NVSwitch."""

from __future__ import annotations

from gpuwright.catalog import Catalog
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import DriverPlan, FabricPlan, Gpu
from gpuwright.plan.notes import Notes
from gpuwright.settings import HostSettings


def plan_fabric(
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    gpus: tuple[Gpu, ...],
    drivers: tuple[DriverPlan, ...],
    notes: Notes,
) -> FabricPlan:
    """Fabric manager and companions where the host has NVSwitches, and nowhere else."""
    notes.why("fabric", "no NVSwitch on the bus", "role nvidia_driver")
    return FabricPlan((), (), ())
