"""Shapes of well-known models, for sizing without their files: architectures.toml."""

from __future__ import annotations

from typing import Literal

from gpuwright.catalog.row import Row


class ArchitectureShape(Row):
    """A decoder-only transformer in the words of its config.json; lengths in elements, `context` in tokens.

    `parameters` is the published total, which the other values must give. `native` is the format of the published
    weights. `biases`: none, qkv, or all (attention, router and experts). `norms` counts the norm vectors of a layer.
    `experts` to `dense_layers` are 0 for a dense model; `dense_layers` come before the first with experts. `kv_rank` to
    `value_dim` are those of multi-head latent attention (MLA), 0 elsewhere. `window` tokens are all that
    `window_layers` of the layers look back on.
    """

    name: str
    aliases: tuple[str, ...] = ()
    architecture: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    context: int
    parameters: int
    native: Literal["bf16", "fp8", "mxfp4"] = "bf16"
    tied: bool = False
    biases: Literal["none", "qkv", "all"] = "none"
    qk_norm: bool = False
    norms: int = 2
    experts: int = 0
    active_experts: int = 0
    expert_ffn: int = 0
    shared_ffn: int = 0
    dense_layers: int = 0
    q_rank: int = 0
    kv_rank: int = 0
    rope_dim: int = 0
    value_dim: int = 0
    window: int = 0
    window_layers: int = 0
