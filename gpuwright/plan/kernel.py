"""Slice `kernel`: the kernel that the GPUs need."""

from __future__ import annotations

from gpuwright.catalog import Catalog
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import Gpu, KernelPlan
from gpuwright.plan.notes import Notes
from gpuwright.settings import HostSettings


def plan_kernel(
    facts: HostFacts, settings: HostSettings, catalog: Catalog, gpus: tuple[Gpu, ...], notes: Notes
) -> KernelPlan:
    """The kernel's flavour, packages and command line."""
    notes.why("kernel", "no GPU asks for another kernel", "role kernel")
    return KernelPlan("keep", "", (), (), (), "none")
