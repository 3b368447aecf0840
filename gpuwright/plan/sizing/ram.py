"""What a model needs of a machine's memory when its processor serves it."""

from __future__ import annotations

from gpuwright.plan.sizing import cache, constants, quantisation
from gpuwright.plan.sizing.model import ModelFacts, matrices

# Beside weights and cache: the program, its buffers; vLLM is PyTorch, in a process for each rank.
_PROGRAM = {"llama_cpp": 0.3 * constants.GIB, "vllm": 2.5 * constants.GIB}


def needed(model: ModelFacts, engine: str, context: int, users: int, kv_type: str) -> float:
    """Bytes of weights, cache and program; the format is the model's own. KeyError for one that nobody knows."""
    gguf = engine == "llama_cpp"
    weights = sum(quantisation.size(model.native, matrix, model, gguf=gguf) for matrix in matrices(model))
    each = cache.of_layer(model, kv_type)
    batch = constants.UBATCH
    cells = sum(cache.cells(model, layer, context, users, batch) for layer in range(model.layers))
    return weights + each * cells + _PROGRAM[engine]
