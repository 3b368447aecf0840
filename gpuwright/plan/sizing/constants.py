"""Figures that no formula gives: fitted to the odd rows of bench/size/published.toml by `python -m bench.size fit`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """The share of the memory's bandwidth that decoding reaches, and the seconds that a layer, and one with experts
    besides, costs in each step.
    """

    share: float
    layer_s: float
    experts_s: float


GIB = 1024**3
# What the driver keeps for itself: an RTX 3090 has 24576 MiB in nvidia-smi and 23.69 GiB in CUDA, an H100 81559 MiB and
# 79.2 GiB.
RESERVED_BYTES = 0.35 * GIB
# The driver's context in each process: nine models on an H200 (bench/size/h200.json) took 0.63 to 0.75 GiB beside their
# weights, cache and buffers. NCCL's buffers with more than one GPU: a rule of thumb.
CONTEXT_BYTES = 0.67 * GIB
COLLECTIVE_BYTES = 0.35 * GIB
# llama.cpp decodes and prefills in batches of `-ub` tokens.
UBATCH = 512
# --fit-target: what llama.cpp wants to stay free.
LLAMA_MARGIN = 1.0 * GIB
# vLLM: max_num_batched_tokens of a server on cards below and from 70 GiB on, and what CUDA graphs take.
VLLM_BATCH_SMALL, VLLM_BATCH_LARGE, VLLM_LARGE = 2048, 8192, 70 * GIB
VLLM_GRAPHS_BYTES = 0.5 * GIB
VLLM_MARGIN_SHARE = 0.05
# How an engine decodes on cards with GDDR and with HBM, whose bandwidth small matrices do not fill.
PACES = {
    "llama_cpp": {"gddr": Pace(0.86, 40e-6, 0.0), "hbm": Pace(0.56, 90e-6, 10e-6)},
    "vllm": {"gddr": Pace(0.94, 75e-6, 0.0), "hbm": Pace(0.76, 20e-6, 160e-6)},
}
HBM = (
    *("sm_60", "sm_70", "sm_80", "sm_90", "sm_100", "sm_103"),
    *("gfx900", "gfx906", "gfx908", "gfx90a", "gfx942", "gfx950"),
)
# Seconds of an all-reduce of one token: two a layer with tensor parallelism.
ALL_REDUCE_S = {"fabric": 8e-6, "pcie": 25e-6}
# Share of a card's peak that arithmetic reaches with many users.
COMPUTE_SHARE = 0.5
# Bytes a second that a desktop or server reads from RAM, for experts that lie there.
HOST_BANDWIDTH = 60e9
# Four of five published rates are between these shares of the prediction; vLLM's are of many versions.
BANDS = {"llama_cpp": (0.78, 1.12), "vllm": (0.58, 1.65)}
