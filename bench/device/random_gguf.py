"""A GGUF file of a real model's shape with random weights: for measuring, not for talking.

Engines read it as they would the real one: the same tensors in the types that llama-quantize gives them. Weights are
small and finite, a megabyte of them again and again. So rows of the output repeat, and of equal ones an engine takes
the first: the vocabulary begins with words, and what comes back is text, never the end of it.
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
_ARCHITECTURES = {"mistral": "llama", "mixtral": "llama"}
_U32, _I32, _F32, _STRING, _ARRAY = 4, 5, 6, 8, 9
_ALIGNMENT = 32
_BLOCKS = 4096
_FILE_TYPES = {"fp16": 1, "q8_0": 7, "q4_k_m": 15}
# Kinds of tokens of llama.h, enum llama_token_type.
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6
# The first of <unk>, <s>, </s> and the 256 bytes: behind more rows than a megabyte of weights holds.
_SPECIAL = 4096

Tensor = tuple[str, tuple[int, ...], str]
Value = str | int | float | list[str] | list[int] | list[float]


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
        file.write(_text(key) + _value(value))
    offset = 0
    for name, shape, type_ in tensors:
        file.write(_text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
        file.write(struct.pack("<IQ", _TYPES[type_][0], offset))
        offset += -(-_bytes(type_, shape) // _ALIGNMENT) * _ALIGNMENT
    file.write(bytes(-file.tell() % _ALIGNMENT))


def _value(value: Value) -> bytes:
    """With its type before it."""
    if isinstance(value, list):
        kind = _STRING if isinstance(value[0], str) else _F32 if isinstance(value[0], float) else _I32
        items = b"".join(_text(item) if isinstance(item, str) else _number(kind, item) for item in value)
        return struct.pack("<IIQ", _ARRAY, kind, len(value)) + items
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _text(value)
    kind = _F32 if isinstance(value, float) else _U32
    return struct.pack("<I", kind) + _number(kind, value)


def _number(kind: int, value: int | float) -> bytes:
    return struct.pack({_U32: "<I", _I32: "<i", _F32: "<f"}[kind], value)


def _metadata(model: ModelFacts, mixture: str) -> dict[str, Value]:
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
        **_vocabulary(model.vocab),
        **{f"{architecture}.{key}": value for key, value in values.items()},
    }


def _vocabulary(count: int) -> dict[str, Value]:
    """Words, with what a tokenizer of SentencePiece's kind cannot do without in their midst."""
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [_UNKNOWN, _CONTROL, _CONTROL, *([_BYTE] * 256)]
    first = min(_SPECIAL, count - len(special))
    words = [f"\u2581w{number}" for number in range(count - len(special))]
    others = [_NORMAL] * len(words)
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": [*words[:first], *special, *words[first:]],
        "tokenizer.ggml.scores": [0.0] * count,
        "tokenizer.ggml.token_type": [*others[:first], *kinds, *others[first:]],
        "tokenizer.ggml.unknown_token_id": first,
        "tokenizer.ggml.bos_token_id": first + 1,
        "tokenizer.ggml.eos_token_id": first + 2,
    }


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


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
