"""A GGUF file of a real model's shape with random weights: for measuring, not for talking.

Engines read it as they would the real one: the same tensors in the types that llama-quantize gives them. It has no
vocabulary (tokenizer.ggml.model = no_vocab). Weights are small and finite, a megabyte of them again and again.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gpuwright.plan.sizing.gguf_mix import kind
from gpuwright.plan.sizing.model import Matrix, ModelFacts, matrices

# Numbers of ggml.h, enum ggml_type; elements and bytes of a block.
_TYPES = {
    **{"F32": (0, 1, 4), "F16": (1, 1, 2), "Q5_0": (6, 32, 22), "Q8_0": (8, 32, 34)},
    **{"Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210)},
}
_NAMES = {"q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output", "gate": "ffn_gate", "up": "ffn_up"}
_ARCHITECTURES = {"mistral": "llama"}
_U32, _F32, _STRING = 4, 6, 8
_ALIGNMENT = 32
_BLOCKS = 4096
_FILE_TYPES = {"fp16": 1, "q8_0": 7, "q4_k_m": 15}

Tensor = tuple[str, tuple[int, ...], str]


def write(path: Path, model: ModelFacts, mixture: str) -> int:
    """Write the file; its size in bytes. Raises KeyError for a mixture or type that is not made here."""
    tensors = list(_tensors(model, mixture))
    with path.open("wb") as file:
        _header(file, model, mixture, tensors)
        for _, shape, type_ in tensors:
            _fill(file, type_, shape)
    return path.stat().st_size


def _tensors(model: ModelFacts, mixture: str) -> Iterator[Tensor]:
    """Name, dimensions and type, in order; norms and biases are F32."""
    for matrix in matrices(model):
        if matrix.role == "embedding":
            yield "token_embd.weight", (model.hidden, model.vocab), kind(mixture, matrix, model)
        elif matrix.role == "output":
            yield "output.weight", (model.hidden, model.vocab), kind(mixture, matrix, model)
        elif matrix.role != "vectors":
            yield _matrix(matrix, mixture, model)
    yield "output_norm.weight", (model.hidden,), "F32"
    for layer in range(model.layers):
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{layer}.{name}.weight", (model.hidden,), "F32"
        for name in ("attn_q_norm", "attn_k_norm") if model.qk_norm else ():
            yield f"blk.{layer}.{name}.weight", (model.head_dim,), "F32"
        for name, heads in (("q", model.heads), ("k", model.kv_heads), ("v", model.kv_heads)):
            if model.biases == "qkv":
                yield f"blk.{layer}.attn_{name}.bias", (heads * model.head_dim,), "F32"


def _matrix(matrix: Matrix, mixture: str, model: ModelFacts) -> Tensor:
    name = {**_NAMES, "down": "ffn_down", "router": "ffn_gate_inp"}[matrix.role]
    name += "_exps" if matrix.expert else ""
    shape = (matrix.columns, matrix.rows) + ((matrix.count,) if matrix.expert else ())
    return f"blk.{matrix.layer}.{name}.weight", shape, kind(mixture, matrix, model)


def _header(file: BinaryIO, model: ModelFacts, mixture: str, tensors: list[Tensor]) -> None:
    pairs = _metadata(model, mixture)
    file.write(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)))
    for key, value in pairs.items():
        file.write(_text(key))
        if isinstance(value, str):
            file.write(struct.pack("<I", _STRING) + _text(value))
        elif isinstance(value, float):
            file.write(struct.pack("<If", _F32, value))
        else:
            file.write(struct.pack("<II", _U32, value))
    offset = 0
    for name, shape, type_ in tensors:
        file.write(_text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
        file.write(struct.pack("<IQ", _TYPES[type_][0], offset))
        offset += -(-_bytes(type_, shape) // _ALIGNMENT) * _ALIGNMENT
    file.write(bytes(-file.tell() % _ALIGNMENT))


def _metadata(model: ModelFacts, mixture: str) -> dict[str, str | int | float]:
    architecture = _ARCHITECTURES.get(model.architecture, model.architecture)
    values: dict[str, str | int | float] = {
        "block_count": model.layers,
        "context_length": model.context,
        "embedding_length": model.hidden,
        "feed_forward_length": model.ffn,
        "attention.head_count": model.heads,
        "attention.head_count_kv": model.kv_heads,
        "attention.key_length": model.head_dim,
        "attention.value_length": model.head_dim,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.dimension_count": model.head_dim,
        "rope.freq_base": 1e6,
        "vocab_size": model.vocab,
    }
    if model.experts:
        values["expert_count"] = model.experts.count
        values["expert_used_count"] = model.experts.active
        values["expert_feed_forward_length"] = model.experts.ffn
    return {
        "general.architecture": architecture,
        "general.file_type": _FILE_TYPES[mixture],
        "tokenizer.ggml.model": "no_vocab",
        **{f"{architecture}.{key}": value for key, value in values.items()},
    }


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def _bytes(type_: str, shape: tuple[int, ...]) -> int:
    elements = 1
    for dimension in shape:
        elements *= dimension
    _, block, size = _TYPES[type_]
    return elements // block * size


def _fill(file: BinaryIO, type_: str, shape: tuple[int, ...]) -> None:
    left = _bytes(type_, shape)
    padding = -left % _ALIGNMENT
    part = b"".join(_block(type_, len(shape)) for _ in range(_BLOCKS))
    while left > 0:
        file.write(part[:left])
        left -= len(part)
    file.write(bytes(padding))


def _block(type_: str, dimensions: int) -> bytes:
    """One block, of which no element is infinite or no number; norms are ones."""
    half = struct.Struct("<e").pack
    if type_ == "F32":
        return struct.pack("<f", 1.0 if dimensions == 1 else random.uniform(-0.05, 0.05))
    if type_ == "F16":
        return half(random.uniform(-0.05, 0.05))
    if type_ in ("Q8_0", "Q5_0"):
        return half(0.0005) + os.urandom(_TYPES[type_][2] - 2)
    if type_ == "Q6_K":
        return os.urandom(208) + half(0.00002)
    return half(0.0002) + half(0.0001) + os.urandom(_TYPES[type_][2] - 4)
