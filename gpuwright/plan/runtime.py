"""Slice `runtimes`: GPUs in containers."""

from __future__ import annotations

from gpuwright.catalog import Catalog
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import DriverPlan, Gpu, RuntimePlan
from gpuwright.plan.notes import Notes
from gpuwright.settings import HostSettings


def plan_runtimes(
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    gpus: tuple[Gpu, ...],
    drivers: tuple[DriverPlan, ...],
    notes: Notes,
) -> tuple[RuntimePlan, ...]:
    """One for each vendor that has compute GPUs."""
    return ()
