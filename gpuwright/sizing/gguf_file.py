"""ModelFacts from the header of a GGUF file, with what its tensors really take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gpuwright.errors import GpuwrightError
from gpuwright.models import gguf
from gpuwright.models.gguf import Header
from gpuwright.plan.sizing.model import Experts, Latent, ModelFacts, matrices
from gpuwright.plan.sizing.quantisation import GGUF, size

# general.file_type: llama.cpp's llama.h, enum llama_ftype.
_FILE_TYPES = {
    **{
        1: "fp16",
        2: "q4_0",
        3: "q4_1",
        7: "q8_0",
        8: "q5_0",
        10: "q2_k",
        11: "q3_k_s",
        12: "q3_k_m",
        13: "q3_k_l",
    },
    **{
        14: "q4_k_s",
        15: "q4_k_m",
        16: "q5_k_s",
        17: "q5_k_m",
        18: "q6_k",
        25: "iq4_nl",
        30: "iq4_xs",
        32: "bf16",
    },
    **{38: "mxfp4"},
}
# Layers with a window, of all: what llama.cpp's llama-model.cpp knows by architecture and the file does not say.
_FULL_EVERY = {"gemma2": 2, "gemma3": 6, "gpt-oss": 2}
_NORMS = {"gemma2": 4, "gemma3": 4}


def read(path: Path) -> ModelFacts:
    """The model in a GGUF file, whose own format it is sized in by the bytes of its tensors.

    Raises GpuwrightError for a file that is cut, a part of one, or without what sizing needs.
    """
    return of_header(path, gguf.check(path))


def of_header(path: Path, header: Header) -> ModelFacts:
    """The model of a header, of a file that is named `path`. Raises GpuwrightError as `read` does."""
    if _int(path, header, "split.count", 1) > 1:
        raise GpuwrightError.of(
            f"model {path}",
            "is one part of a split file",
            "a model in one file",
            "Join it: llama-gguf-split --merge.",
        )
    model = _shape(path, header)
    stored = sum(tensor.bytes for tensor in header.tensors)
    native = _FILE_TYPES.get(_int(path, header, "general.file_type", -1)) or _nearest(model, stored)
    return replace(model, native=native, file_bytes=stored, gguf=True)


def _shape(path: Path, header: Header) -> ModelFacts:
    architecture = str(header.metadata.get("general.architecture", ""))
    tensors = {tensor.name: tensor for tensor in header.tensors}

    def number(key: str, default: int | None = None) -> int:
        return _int(path, header, f"{architecture}.{key}", default)

    layers, hidden, heads = number("block_count"), number("embedding_length"), number("attention.head_count")
    if not heads or not all(tensor.columns for tensor in header.tensors):
        raise _lacks(path, "attention heads, or a tensor is empty")
    latent = None
    head_dim = number("attention.key_length", hidden // heads)
    if kv_rank := number("attention.kv_lora_rank", 0):
        rope = number("rope.dimension_count")
        value = number("attention.value_length_mla", number("attention.value_length"))
        latent = Latent(number("attention.q_lora_rank", 0), kv_rank, rope, value)
        head_dim = number("attention.key_length_mla", head_dim) - rope
    experts = None
    if count := number("expert_count", 0):
        width = number("expert_feed_forward_length", number("feed_forward_length"))
        shared = number("expert_shared_count", 0) * width
        experts = Experts(
            count, number("expert_used_count"), width, shared, number("leading_dense_block_count", 0)
        )
    if "token_embd.weight" not in tensors:
        raise _lacks(path, "token_embd.weight")
    embedding = tensors["token_embd.weight"]
    window = number("attention.sliding_window", 0)
    return ModelFacts(
        name=path.stem,
        architecture=architecture,
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=number("attention.head_count_kv", heads),
        head_dim=head_dim,
        ffn=number("feed_forward_length"),
        vocab=embedding.elements // embedding.columns,
        context=number("context_length"),
        tied="output.weight" not in tensors,
        biases="none"
        if "blk.0.attn_q.bias" not in tensors
        else "all"
        if "blk.0.attn_sinks.weight" in tensors
        else "qkv",
        qk_norm="blk.0.attn_q_norm.weight" in tensors,
        norms=_NORMS.get(architecture, 2),
        experts=experts,
        latent=latent,
        window=window if architecture in _FULL_EVERY else 0,
        window_layers=layers - layers // _FULL_EVERY[architecture]
        if window and architecture in _FULL_EVERY
        else 0,
        source=f"header of {path.name}",
    )


def _nearest(model: ModelFacts, stored: int) -> str:
    """The mixture whose file would have the most similar size: a file may be quantised as its maker liked."""
    sizes = {name: sum(size(name, matrix, model, gguf=True) for matrix in matrices(model)) for name in GGUF}
    return min(sizes, key=lambda name: abs(sizes[name] - stored))


def _int(path: Path, header: Header, key: str, default: int | None = None) -> int:
    """A number of the metadata, the largest of a list by layer."""
    value = header.metadata.get(key, default)
    if isinstance(value, tuple) and value:
        value = max(value)
    if type(value) is not int:
        raise _lacks(path, key)
    return value


def _lacks(path: Path, what: str) -> GpuwrightError:
    return GpuwrightError.of(
        f"model {path}",
        f"its header has no {what}",
        "a language model's header",
        "Convert it again, or name the model.",
    )
