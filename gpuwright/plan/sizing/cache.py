"""The key-value cache: bytes for tokens of context, as each engine lays it out."""

from __future__ import annotations

from gpuwright.plan.sizing.model import ModelFacts

# Bytes of an element: llama.cpp's cache types (ggml-common.h), vLLM's kv-cache-dtype.
BYTES = {"f16": 2.0, "bf16": 2.0, "q8_0": 8.5 / 8, "q4_0": 4.5 / 8, "fp8": 1.0}


def of_layer(model: ModelFacts, kv_type: str, ranks: int = 1) -> float:
    """Bytes of one token in one layer on one of `ranks` tensor-parallel GPUs.

    Key-value heads are divided, or repeated where there are fewer than ranks; a latent cache is whole on each
    (vLLM 0.33: config/model.py get_num_kv_heads). Raises KeyError for a type that is not in BYTES.
    """
    if model.latent:
        return (model.latent.kv_rank + model.latent.rope_dim) * BYTES[kv_type]
    heads = max(1, model.kv_heads // ranks)
    return 2 * heads * model.head_dim * BYTES[kv_type]


def cells(model: ModelFacts, layer: int, context: int, users: int, batch: int) -> int:
    """Tokens that a layer keeps for `users` with `context` tokens each; one with a window keeps that and a batch.

    llama.cpp b11434: src/llama-kv-cache-iswa.cpp; for each user by itself, as with LLAMA_ARG_N_PARALLEL.
    """
    if not _windowed(model, layer):
        return context * users
    return min(context, _padded(model.window + batch, 256)) * users


def _windowed(model: ModelFacts, layer: int) -> bool:
    """Whether the layer looks back on a window only; those with all of the context are spread evenly."""
    if not model.window_layers:
        return False
    full = model.layers - model.window_layers
    return full == 0 or (layer + 1) * full // model.layers == layer * full // model.layers


def _padded(value: int, step: int) -> int:
    return -(-value // step) * step
