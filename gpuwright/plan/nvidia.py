"""Slice `drivers`: NVIDIA."""

from __future__ import annotations

from gpuwright.catalog import Catalog
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import DriverPlan, Gpu, KernelPlan
from gpuwright.plan.notes import Notes
from gpuwright.settings import HostSettings


def plan_nvidia(
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    gpus: tuple[Gpu, ...],
    kernel: KernelPlan,
    path: str,
    notes: Notes,
) -> DriverPlan | None:
    """The driver of the host's NVIDIA GPUs; None without one, or after a refusal was noted.

    `path` is where the slice will be in the plan (drivers.0).
    """
    return None
