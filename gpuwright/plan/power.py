"""Slice `power`: persistence and limits."""

from __future__ import annotations

from gpuwright.catalog import Catalog
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import DriverPlan, Gpu, PowerPlan
from gpuwright.plan.notes import Notes
from gpuwright.settings import HostSettings


def plan_power(
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    gpus: tuple[Gpu, ...],
    drivers: tuple[DriverPlan, ...],
    notes: Notes,
) -> PowerPlan:
    """Persistence, and the limits that are declared."""
    notes.why("power", "no GPU", "role power")
    return PowerPlan(False, ())
