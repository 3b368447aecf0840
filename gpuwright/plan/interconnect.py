"""Slice `interconnect`: IOMMU, ACS and P2P."""

from __future__ import annotations

from gpuwright.catalog import Catalog
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import DriverPlan, Gpu, InterconnectPlan, KernelPlan
from gpuwright.plan.notes import Notes
from gpuwright.settings import HostSettings


def plan_interconnect(
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    gpus: tuple[Gpu, ...],
    drivers: tuple[DriverPlan, ...],
    kernel: KernelPlan,
    notes: Notes,
) -> InterconnectPlan:
    """How GPUs reach each other, decided before anything was measured."""
    notes.why("interconnect", "fewer than two GPUs", "role interconnect")
    return InterconnectPlan("none", "leave", (), "off")
