"""What no layout can help: a format that the engine or the cards do not have, more context than the model knows."""

from __future__ import annotations

from collections.abc import Iterator

from gpuwright.errors import Refusal
from gpuwright.facts import NVIDIA
from gpuwright.plan.sizing import vllm
from gpuwright.plan.sizing.engines import ENGINES
from gpuwright.plan.sizing.request import Request

_FP8 = ("fp8", "fbgemm_fp8")
_NVIDIA_ONLY = ("awq", "gptq", "w4a16", "nvfp4")
# llama.cpp b11434: LLAMA_MAX_SEQ, GGML_CUDA_MAX_DEVICES.
_MOST_USERS, _MOST_GPUS = 256, 16
# What vLLM's images are built for.
_OLDEST, _MARLIN = 75, 80
_AMD = ("gfx90a", "gfx942", "gfx950", "gfx1100", "gfx1101", "gfx1150", "gfx1151", "gfx1200", "gfx1201")
_AMD_FP8 = ("gfx942", "gfx950", "gfx1200", "gfx1201")
SOURCE = "vLLM 0.33, docs/features/quantization/README.md"


def impossible(request: Request) -> tuple[Refusal, ...]:
    """All of it at once."""
    return (*_format(request), *_cards(request), *_context(request), *_vendors(request), *_limits(request))


def _format(request: Request) -> tuple[Refusal, ...]:
    known = ENGINES[request.engine].FORMATS
    if request.quantisation in known:
        return ()
    other = next((name for name, engine in ENGINES.items() if request.quantisation in engine.FORMATS), "")
    remedy = f"Use engine {other}." if other else f"Use one of them, for example {known[0]}."
    return (
        Refusal(
            f"format {request.quantisation}", f"{request.engine} does not read it", ", ".join(known), remedy
        ),
    )


def _cards(request: Request) -> tuple[Refusal, ...]:
    if request.engine != "vllm":
        return ()
    found = []
    for gpu in dict.fromkeys(request.gpus):
        subject = f"format {request.quantisation} on {gpu.name}"
        capability = vllm.capability(gpu)
        if not (capability >= _OLDEST if gpu.vendor == NVIDIA else gpu.target in _AMD):
            required = f"compute capability 7.5 or newer, or {', '.join(_AMD)}"
            remedy = "Use engine llama_cpp, with q8_0 for example."
            found.append(Refusal(f"vLLM on {gpu.name}", f"it is {gpu.target}", required, remedy))
        elif request.quantisation in _FP8 and not (
            capability >= _MARLIN if gpu.vendor == NVIDIA else gpu.target in _AMD_FP8
        ):
            # From Ampere on: its weights stay at 8 bits, arithmetic is done at 16 (vLLM docs, FP8 W8A8).
            remedy = "Use bf16, or llama.cpp with q8_0; on NVIDIA w8a8 (INT8) or awq of the same model."
            required = "Ampere or newer, CDNA 3 or RDNA 4"
            found.append(Refusal(subject, f"{gpu.target} has no FP8 kernels", required, remedy))
        elif request.quantisation in _NVIDIA_ONLY and gpu.vendor != NVIDIA:
            remedy = "Use fp8 or bf16 in vLLM, or a GGUF file with llama.cpp."
            found.append(
                Refusal(subject, f"vLLM has no {request.quantisation} kernels for AMD", SOURCE, remedy)
            )
    return tuple(found)


def _context(request: Request) -> tuple[Refusal, ...]:
    most = request.model.context
    if request.context <= most:
        return ()
    remedy = f"Ask for a context of {most} or less, or take a model that was trained for more."
    return (
        Refusal(
            f"context {request.context}",
            f"{request.model.name} knows {most} tokens",
            f"at most {most}",
            remedy,
        ),
    )


def _vendors(request: Request) -> tuple[Refusal, ...]:
    vendors = {gpu.vendor for gpu in request.gpus}
    if len(vendors) == 1:
        return ()
    names = ", ".join(dict.fromkeys(gpu.name for gpu in request.gpus))
    remedy = "Size each vendor's cards by themselves."
    return (Refusal("GPUs", names, "cards of one vendor: an engine is built for one", remedy),)


def _limits(request: Request) -> Iterator[Refusal]:
    """What the engine itself has an end to."""
    known = ENGINES[request.engine].KV_TYPES
    if request.kv_type not in known:
        remedy = f"Use one of them, for example {known[-1]}."
        yield Refusal(f"cache type {request.kv_type}", f"{request.engine} has none", ", ".join(known), remedy)
    if request.engine == "llama_cpp" and request.users > _MOST_USERS:
        remedy = "Declare fewer, or use vLLM."
        yield Refusal(f"{request.users} users", "llama.cpp serves fewer", f"at most {_MOST_USERS}", remedy)
    if request.engine == "llama_cpp" and len(request.gpus) > _MOST_GPUS:
        remedy = "Use fewer cards, or vLLM."
        yield Refusal(f"{len(request.gpus)} GPUs", "llama.cpp uses fewer", f"at most {_MOST_GPUS}", remedy)
