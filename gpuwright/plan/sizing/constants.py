"""Figures that no formula gives: fitted to the odd rows of bench/size/published.toml by `python -m bench.size fit`."""

from __future__ import annotations

GIB = 1024**3
# What the driver keeps for itself: an RTX 3090 has 24576 MiB in nvidia-smi and 23.69 GiB in CUDA, an H100 81559 MiB and
# 79.2 GiB.
RESERVED_BYTES = 0.35 * GIB
# The driver's context in each process, and NCCL's buffers with more than one GPU. research: rules of thumb.
CONTEXT_BYTES = 0.45 * GIB
COLLECTIVE_BYTES = 0.35 * GIB
# llama.cpp decodes and prefills in batches of `-ub` tokens.
UBATCH = 512
# --fit-target: what llama.cpp wants to stay free.
LLAMA_MARGIN = 1.0 * GIB
# vLLM: a profile run with max_num_batched_tokens and max_num_seqs, and what CUDA graphs take.
VLLM_BATCH = 8192
VLLM_SEQUENCES = 256
VLLM_GRAPHS_BYTES = 0.5 * GIB
VLLM_MARGIN_SHARE = 0.05
# Share of the memory's bandwidth that decoding reaches, and seconds that every layer costs besides.
BANDWIDTH_SHARE = {"llama_cpp": 0.86, "vllm": 0.80}
LAYER_S = {"llama_cpp": 40e-6, "vllm": 110e-6}
# Seconds of an all-reduce of one token: two a layer with tensor parallelism.
ALL_REDUCE_S = {"fabric": 8e-6, "pcie": 25e-6}
# Seconds that a layer with experts costs besides: choosing them, and small matrices.
EXPERTS_S = {"llama_cpp": 0.0, "vllm": 110e-6}
# Share of a card's peak that arithmetic reaches with many users.
COMPUTE_SHARE = 0.5
# Bytes a second that a desktop or server reads from RAM, for experts that lie there.
HOST_BANDWIDTH = 60e9
# Measured tokens per second are between these shares of the prediction in four of five published rows.
BAND = (0.75, 1.1)
