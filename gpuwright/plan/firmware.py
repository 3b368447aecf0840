"""Slice `firmware`: what the GPUs load."""

from __future__ import annotations

from gpuwright.catalog import Catalog
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import DriverPlan, FirmwarePlan, Gpu, KernelPlan
from gpuwright.plan.notes import Notes
from gpuwright.settings import HostSettings


def plan_firmware(
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    gpus: tuple[Gpu, ...],
    drivers: tuple[DriverPlan, ...],
    kernel: KernelPlan,
    notes: Notes,
) -> FirmwarePlan:
    """Firmware packages new enough for every card."""
    notes.why("firmware", "no card needs firmware of its own", "role rocm")
    return FirmwarePlan((), "")
