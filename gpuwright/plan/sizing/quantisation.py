"""How many bytes a matrix has in each format that engines read."""

from __future__ import annotations

from functools import cache

from gpuwright.plan.sizing import gguf_mix
from gpuwright.plan.sizing.model import Matrix, ModelFacts, matrices

# Formats of safetensors: bits of a linear layer's element with its scales; the rest stays at 16.
# 4 bits in groups of 128: a 16-bit scale and a 4-bit zero point for each group. FP8 and INT8: a scale for each row or
# block of 128 x 128, less than a thousandth. MXFP4, NVFP4: an 8-bit scale for 32 or 16 elements.
_LINEAR = {
    **{
        "bf16": 16.0,
        "fp16": 16.0,
        "fp8": 8.0,
        "int8": 8.0,
        "w8a8": 8.0,
        "awq": 4 + 20 / 128,
        "gptq": 4 + 20 / 128,
    },
    **{"w4a16": 4 + 20 / 128, "nvfp4": 4.5, "mxfp4": 4.25, "fbgemm_fp8": 8.0},
}
SAFETENSORS = tuple(_LINEAR)
GGUF = gguf_mix.MIXTURES
_BITS = 8
_FULL = 16.0
_NOT_LINEAR = ("embedding", "output", "router", "vectors")


def size(quantisation: str, matrix: Matrix, model: ModelFacts, *, gguf: bool) -> float:
    """Bytes of the whole matrix. Raises KeyError for a format that is not in SAFETENSORS, or with gguf in GGUF."""
    return _by_rule(quantisation, matrix, model, gguf) * _of_file(quantisation, model, gguf)


def _by_rule(quantisation: str, matrix: Matrix, model: ModelFacts, gguf: bool) -> float:
    return matrix.elements * bits(quantisation, matrix, model, gguf=gguf) / _BITS


@cache
def _of_file(quantisation: str, model: ModelFacts, gguf: bool) -> float:
    """What the files really take of what the rules say, in their own format: makers leave some layers as they were."""
    if not model.file_bytes or quantisation != model.native or gguf != model.gguf:
        return 1.0
    return model.file_bytes / sum(_by_rule(quantisation, matrix, model, gguf) for matrix in matrices(model))


def bits(quantisation: str, matrix: Matrix, model: ModelFacts, *, gguf: bool) -> float:
    """Bits of an element, scales included."""
    if gguf:
        return gguf_mix.bits(quantisation, matrix, model)
    if matrix.role in _NOT_LINEAR or (quantisation == "mxfp4" and not matrix.expert):
        return _FULL
    if quantisation == "fbgemm_fp8" and not _in_fbgemm(matrix, model):
        return _FULL
    return _LINEAR[quantisation]


def _in_fbgemm(matrix: Matrix, model: ModelFacts) -> bool:
    """What Meta's FP8 checkpoints quantise: feed-forward matrices, not those of the first and last layer."""
    return matrix.role in ("gate", "up", "down") and 0 < matrix.layer < model.layers - 1
