"""What NVIDIA's driver has beside what every driver has."""

from __future__ import annotations

from dataclasses import dataclass

from gpuwright.plan.gpu_model import DriverPlan


@dataclass(frozen=True)
class NvidiaDriverPlan(DriverPlan):
    """`toolkit` are the packages of a CUDA toolkit: none of the driver's, and locked by themselves.

    `imex_nodes` are the machines whose GPUs share memory over NVLink, in the order in which each of them lists all.
    """

    toolkit: tuple[str, ...]
    imex_nodes: tuple[str, ...]
