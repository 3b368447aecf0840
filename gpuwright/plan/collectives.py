"""Slice `collectives`: NCCL and RCCL."""

from __future__ import annotations

from gpuwright.catalog import Catalog
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import CollectivesPlan, Gpu, InterconnectPlan
from gpuwright.plan.notes import Notes
from gpuwright.settings import HostSettings


def plan_collectives(
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    gpus: tuple[Gpu, ...],
    interconnect: InterconnectPlan,
    notes: Notes,
) -> CollectivesPlan:
    """System-wide variables, from network interfaces and the interconnect."""
    notes.why("collectives", "fewer than two GPUs", "role interconnect")
    return CollectivesPlan(())
