"""Decoding by the roofline: a step reads the weights of its tokens and their cache once from memory."""

from __future__ import annotations

from dataclasses import dataclass

from gpuwright.plan.sizing import cache, constants, quantisation
from gpuwright.plan.sizing.constants import Pace
from gpuwright.plan.sizing.model import Matrix, chosen, matrices
from gpuwright.plan.sizing.request import Request
from gpuwright.plan.sizing.result import Layout

FABRICS = ("nvlink", "nvswitch", "xgmi", "c2c")


@dataclass(frozen=True)
class Step:
    """One token for every user: `read_s` at the memory's full bandwidth, `host_s` of experts in RAM, `reduce_s` of
    all-reduces and `compute_s` of arithmetic, in seconds; layers, and those of them with experts.
    """

    read_s: float
    host_s: float
    reduce_s: float
    compute_s: float
    layers: int
    expert_layers: int

    def seconds(self, pace: Pace) -> float:
        """At an engine's pace."""
        fixed = self.layers * pace.layer_s + self.expert_layers * pace.experts_s + self.reduce_s
        return max(self.read_s / pace.share + self.host_s + fixed, self.compute_s)


def step_seconds(request: Request, layout: Layout, depth: int) -> float | None:
    """Seconds for one token of every user, who have `depth` tokens behind them; None where a bandwidth is not known."""
    step = step_of(request, layout, depth)
    if step is None:
        return None
    return step.seconds(constants.PACES[request.engine][memory_of(request)])


def memory_of(request: Request) -> str:
    """hbm where all cards have it, else gddr."""
    return "hbm" if all(gpu.target in constants.HBM for gpu in request.gpus) else "gddr"


def step_of(request: Request, layout: Layout, depth: int) -> Step | None:
    """What a step is made of; None where a card's bandwidth is not known."""
    slowness = _slowness(request, layout)
    if slowness is None:
        return None
    model = request.model
    device, host = _read(request, layout)
    kv = sum(
        cache.of_layer(model, request.kv_type) * cache.cells(model, layer, depth, request.users, 0)
        for layer in range(model.layers)
    )
    # A latent cache is whole on every GPU; of others each reads its heads.
    heads = 1 if model.latent else min(layout.tensor, model.kv_heads)
    link = "fabric" if all(gpu.link in FABRICS for gpu in request.gpus) else "pcie"
    return Step(
        read_s=(device / layout.tensor + kv / heads) * slowness,
        host_s=host / constants.HOST_BANDWIDTH,
        reduce_s=2 * model.layers * constants.ALL_REDUCE_S[link] if layout.tensor > 1 else 0.0,
        compute_s=_compute(request, layout),
        layers=model.layers,
        expert_layers=model.layers - model.experts.dense_layers if model.experts else 0,
    )


def _slowness(request: Request, layout: Layout) -> float | None:
    """Seconds for a byte: of tensor-parallel GPUs the slowest, else of each by its share of the weights."""
    known = [gpu.bandwidth_gbs for gpu in request.gpus if gpu.bandwidth_gbs]
    if len(known) < len(request.gpus):
        return None
    if layout.tensor > 1:
        return 1 / (min(known) * 1e9)
    whole = sum(need.weights for need in layout.needs)
    parts = zip(layout.needs, known, strict=True)
    return sum(need.weights / whole / (bandwidth * 1e9) for need, bandwidth in parts)


def _read(request: Request, layout: Layout) -> tuple[float, float]:
    """Bytes of weights that a step reads from GPUs, and from RAM."""
    model, gguf = request.model, request.engine == "llama_cpp"
    device = host = 0.0
    for matrix in matrices(model):
        if matrix.role == "embedding" and not model.tied:
            continue  # of which it reads one row
        size = quantisation.size(request.quantisation, matrix, model, gguf=gguf) * _touched(
            matrix, request.users
        )
        if chosen(model, matrix, layout.host_layers):
            host += size
        else:
            device += size
    return device, host


def _touched(matrix: Matrix, users: int) -> float:
    """The share of a matrix that `users` tokens read: of experts, those that at least one of them chose."""
    if not matrix.expert:
        return 1.0
    return float(1 - (1 - matrix.active / matrix.count) ** users)


def _compute(request: Request, layout: Layout) -> float:
    """Seconds of arithmetic: two operations for a parameter and token. 0 where nobody knows the card's."""
    known = [gpu.tflops for gpu in request.gpus if gpu.tflops]
    if len(known) < len(request.gpus):
        return 0.0
    operations = 2.0 * request.model.active_parameters * request.users
    return operations / (min(known) * 1e12 * constants.COMPUTE_SHARE * layout.tensor)
