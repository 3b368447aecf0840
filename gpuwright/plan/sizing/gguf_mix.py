"""Which type llama-quantize gives a matrix in each of its mixtures, and so how many bits a GGUF file has.

Source: llama.cpp b11434, src/llama-quant.cpp (llama_tensor_get_type_impl, tensor_type_fallback), without an importance
matrix; block sizes: ggml-common.h.
"""

from __future__ import annotations

from collections.abc import Callable

from gpuwright.plan.sizing.model import Matrix, ModelFacts

# Bits of an element, and how many elements a block has: columns must be a multiple of it.
_TYPES = {
    **{"F32": (32.0, 1), "F16": (16.0, 1), "BF16": (16.0, 1), "Q8_0": (8.5, 32), "MXFP4": (4.25, 32)},
    **{"Q4_0": (4.5, 32), "Q4_1": (5.0, 32), "Q5_0": (5.5, 32), "Q5_1": (6.0, 32), "IQ4_NL": (4.5, 32)},
    **{
        "Q2_K": (2.625, 256),
        "Q3_K": (3.4375, 256),
        "Q4_K": (4.5, 256),
        "Q5_K": (5.5, 256),
        "Q6_K": (6.5625, 256),
    },
    **{"IQ4_XS": (4.25, 256)},
}
# What takes the place of a type whose blocks do not divide the columns.
_FALLBACK = {
    **{"Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0", "IQ4_XS": "IQ4_NL"},
}
# The type of whatever a mixture makes no exception for.
_BASE = {
    **{
        "fp16": "F16",
        "bf16": "BF16",
        "q8_0": "Q8_0",
        "q6_k": "Q6_K",
        "q5_0": "Q5_0",
        "q4_0": "Q4_0",
        "q4_1": "Q4_1",
    },
    **{
        "q5_k_m": "Q5_K",
        "q5_k_s": "Q5_K",
        "q4_k_m": "Q4_K",
        "q4_k_s": "Q4_K",
        "q3_k_l": "Q3_K",
        "q3_k_m": "Q3_K",
    },
    **{"q3_k_s": "Q3_K", "q2_k": "Q2_K", "iq4_xs": "IQ4_XS", "iq4_nl": "IQ4_NL", "mxfp4": "MXFP4"},
}
MIXTURES = tuple(_BASE)
_FIRST_EIGHTH = 8
_GROUPED = 4  # query heads of one key-value head, from which on its matrices are few and may cost more
_EIGHT_EXPERTS = 8


def bits(mixture: str, matrix: Matrix, model: ModelFacts) -> float:
    """Bits of an element of `matrix`. Raises KeyError for a mixture that is not in MIXTURES."""
    return _TYPES[kind(mixture, matrix, model)][0]


def kind(mixture: str, matrix: Matrix, model: ModelFacts) -> str:
    """The type of `matrix`: Q6_K. Raises KeyError for a mixture that is not in MIXTURES."""
    found = _type(mixture, matrix, model)
    if matrix.columns % _TYPES[found][1]:
        found = _FALLBACK.get(found, "F16")
    return "F16" if matrix.columns % _TYPES[found][1] else found


def _type(mixture: str, matrix: Matrix, model: ModelFacts) -> str:
    base = _BASE[mixture]
    if matrix.role in ("vectors", "router"):
        return "F32"
    if base in ("F16", "BF16"):
        return base
    if mixture == "mxfp4" and not matrix.expert:
        return "Q8_0"
    if matrix.role == "output" or (model.tied and matrix.role == "embedding"):
        return base if base == "Q8_0" else "Q6_K"
    exception = _EXCEPTIONS.get(matrix.role)
    return (exception(mixture, matrix.layer, model) if exception else None) or base


def _more_bits(layer: int, layers: int) -> bool:
    """The first and last eighth, and every third layer between them."""
    eighth = layers // _FIRST_EIGHTH
    return layer < eighth or layer >= 7 * layers // _FIRST_EIGHTH or (layer - eighth) % 3 == 2


def _values(mixture: str, layer: int, model: ModelFacts) -> str | None:
    grouped = model.heads // model.kv_heads >= _GROUPED
    if model.experts and model.experts.count == _EIGHT_EXPERTS:
        return "Q8_0"
    chosen = {
        "q2_k": "Q4_K" if grouped else "Q3_K",
        "q3_k_m": "Q5_K" if layer < 2 else "Q4_K",
        "q3_k_l": "Q5_K",
        "iq4_xs": "Q5_K" if grouped else None,
        "iq4_nl": "Q5_K" if grouped else None,
        "q4_k_m": "Q6_K" if _more_bits(layer, model.layers) else None,
        "q5_k_m": "Q6_K" if _more_bits(layer, model.layers) else None,
        "q4_k_s": "Q5_K" if layer < _GROUPED else None,
    }.get(mixture)
    if model.layers == 80 and (chosen or _BASE[mixture]) in ("Q3_K", "Q4_K"):
        return "Q5_K"  # what llama.cpp calls a 70B model
    return chosen


def _keys(_mixture: str, _layer: int, model: ModelFacts) -> str | None:
    return "Q8_0" if model.experts and model.experts.count == _EIGHT_EXPERTS else None


def _down(mixture: str, layer: int, model: ModelFacts) -> str | None:
    eighth = layer < model.layers // _FIRST_EIGHTH
    return {
        "q2_k": "Q3_K",
        "q3_k_m": "Q5_K" if layer < model.layers // 16 else "Q4_K",
        "q3_k_l": "Q5_K",
        "q4_k_m": "Q6_K" if _more_bits(layer, model.layers) else None,
        "q5_k_m": "Q6_K" if _more_bits(layer, model.layers) else None,
        "q4_k_s": "Q5_K" if eighth else None,
        "iq4_xs": "Q5_K" if eighth else None,
        "iq4_nl": "Q5_K" if eighth else None,
    }.get(mixture)


def _output_projection(mixture: str, _layer: int, model: ModelFacts) -> str | None:
    if model.experts and model.experts.count == _EIGHT_EXPERTS:
        return "Q5_K" if _BASE[mixture] in ("Q2_K", "Q3_K", "Q4_K", "IQ4_NL", "IQ4_XS") else None
    return {"q2_k": "Q3_K", "q3_k_m": "Q4_K", "q3_k_l": "Q5_K"}.get(mixture)


_EXCEPTIONS: dict[str, Callable[[str, int, ModelFacts], str | None]] = {
    "v": _values,
    "k": _keys,
    "down": _down,
    "o": _output_projection,
}
