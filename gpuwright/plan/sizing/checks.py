"""What no layout can help: a format that the engine or the cards do not have, more context than the model knows."""

from __future__ import annotations

from gpuwright.errors import Refusal
from gpuwright.facts import NVIDIA
from gpuwright.plan.sizing import llama_cpp, vllm
from gpuwright.plan.sizing.request import Request

_FORMATS = {"llama_cpp": llama_cpp.FORMATS, "vllm": vllm.FORMATS}
_FP8 = ("fp8", "fbgemm_fp8")
_NVIDIA_ONLY = ("awq", "gptq", "w4a16")
_MATRIX_CDNA3 = ("gfx942", "gfx950")
_FP8_RDNA4 = ("gfx1200", "gfx1201")
SOURCE = "vLLM 0.33, docs/features/quantization/README.md"


def impossible(request: Request) -> tuple[Refusal, ...]:
    """All of it at once."""
    return (*_format(request), *_cards(request), *_context(request), *_vendors(request))


def _format(request: Request) -> tuple[Refusal, ...]:
    known = _FORMATS[request.engine]
    if request.quantisation in known:
        return ()
    other = next((name for name, formats in _FORMATS.items() if request.quantisation in formats), "")
    remedy = f"Use --engine {other}." if other else f"Use one of them, for example --quant {known[0]}."
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
        if request.quantisation in _FP8 and not _has_fp8(gpu.vendor, gpu.target, vllm.capability(gpu)):
            remedy = "Use w8a8 (INT8) or awq of the same model, or llama.cpp with q8_0."
            required = "Ada or newer, CDNA 3 or RDNA 4: FP8 is computed there"
            found.append(Refusal(subject, f"{gpu.target} has no FP8 arithmetic", required, remedy))
        if request.quantisation in _NVIDIA_ONLY and gpu.vendor != NVIDIA:
            remedy = "Use fp8 or bf16 in vLLM, or a GGUF file with llama.cpp."
            found.append(
                Refusal(subject, f"vLLM has no {request.quantisation} kernels for AMD", SOURCE, remedy)
            )
    return tuple(found)


def _has_fp8(vendor: str, target: str, capability: int) -> bool:
    return capability >= vllm.ADA if vendor == NVIDIA else target in (*_MATRIX_CDNA3, *_FP8_RDNA4)


def _context(request: Request) -> tuple[Refusal, ...]:
    most = request.model.context
    if request.context <= most:
        return ()
    remedy = f"Ask for --context {most} or less, or take a model that was trained for more."
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
