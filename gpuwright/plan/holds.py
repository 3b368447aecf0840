"""Slice `holds`: what changes only together."""

from __future__ import annotations

from gpuwright.plan.gpu_model import DriverPlan, FabricPlan, HoldsPlan, KernelPlan, RuntimePlan
from gpuwright.plan.notes import Notes


def plan_holds(
    kernel: KernelPlan,
    drivers: tuple[DriverPlan, ...],
    fabric: FabricPlan,
    runtimes: tuple[RuntimePlan, ...],
    notes: Notes,
) -> HoldsPlan:
    """The whole closure of driver, fabric, toolkit and kernel."""
    notes.why("holds", "nothing of ours to hold", "DESIGN: Lock")
    return HoldsPlan((), ())
