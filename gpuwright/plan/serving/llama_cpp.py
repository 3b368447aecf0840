"""llama.cpp: llama-server; what it serves in LLAMA_ARG_* variables, how it lies in memory in its arguments."""

from __future__ import annotations

from gpuwright.plan import sizing
from gpuwright.plan.model import Model
from gpuwright.plan.serving.serving import HOME, Serving
from gpuwright.settings import ServiceDeclaration

SOURCE = "llama.cpp tools/server/README.md (b11434); Debian llama.cpp-services 0.7.0"
BUSY = "llamacpp:requests_processing"
OUT_OF_MEMORY = "failed to allocate|out of memory|ErrorOutOfDeviceMemory|unable to allocate"
CACHE = False  # but for what CUDA compiles
SHM_BYTES = 0
_UBATCH = 512
# docs/multi-gpu.md: what -sm tensor does not know.
_NO_TENSOR_SPLIT = ("deepseek2", "deepseek_v2", "deepseek_v3", "olmoe", "mamba", "gemma3n")
# What its backends call their devices; an unknown name ends the start.
_DEVICES = {"cuda": "CUDA", "rocm": "ROCm", "vulkan": "Vulkan"}
_FULL_WIDTH = ("auto", "f16", "bf16")


def key(_: ServiceDeclaration) -> str:
    """In the environment: arguments are for all to see."""
    return "LLAMA_API_KEY"


def refuses(declared: ServiceDeclaration, model: Model) -> tuple[str, str, str] | None:
    """llama-server opens one GGUF file (of a split model: the first)."""
    if not model.entry.endswith(".gguf"):
        return (
            f"model {model.name} has no GGUF file to open ({model.entry})",
            "a file that ends in .gguf",
            "Name it: `file` of a Hugging Face repository, or a path or url that ends in .gguf.",
        )
    if declared.tensor_parallel is not None:
        remedy = 'Remove tensor_parallel; split = "tensor" is the nearest thing, or take engine = "vllm".'
        return "tensor_parallel is declared", "an engine that has it", remedy
    if "utilisation" in declared.out_of_memory:
        remedy = 'Use "context" and "batch" in out_of_memory.'
        return "out_of_memory names utilisation", "what llama.cpp has: it takes what it needs", remedy
    if declared.split == "tensor" and declared.kv_type not in _FULL_WIDTH:
        remedy = 'Set kv_type = "auto", or split = "layer".'
        return f'split = "tensor" with kv_type = "{declared.kv_type}"', "a cache of 16 bits", remedy
    return None


def environment(serving: Serving) -> tuple[tuple[str, str], ...]:
    """Loopback only: the container shares the host's network, so this address is the host's own."""
    cuda = (("CUDA_CACHE_PATH", f"{HOME}/cuda"), ("CUDA_DEVICE_ORDER", "PCI_BUS_ID"))
    return (
        ("LLAMA_ARG_MODEL", serving.model.entry),
        ("LLAMA_ARG_ALIAS", serving.model.name),
        ("LLAMA_ARG_HOST", "127.0.0.1"),
        ("LLAMA_ARG_PORT", str(serving.port)),
        ("LLAMA_ARG_ENDPOINT_METRICS", "1"),
        ("LLAMA_ARG_OFFLINE", "1"),
        *(cuda if serving.variant.startswith("cuda") else ()),
    )


def arguments(serving: Serving) -> tuple[str, ...]:
    """Every layer on GPUs that are named: what lacks or does not fit ends the start, where llama-server by itself would
    run on the CPU without a word.

    -fit would shrink the context by itself. `-sm row` is gone for CUDA and HIP since b10524.
    """
    declared = serving.declared
    if not serving.cards:
        slots = ("-c", str(serving.context * serving.parallel), "-np", str(serving.parallel))
        return (*slots, *_cache_type(serving))
    assert serving.request is not None and serving.layout is not None  # a service with GPUs was sized
    words = list(sizing.flags(serving.request, serving.layout))
    if declared.split == "tensor" and "-sm" in words:
        place = words.index("-sm")
        words[place : place + 4] = ["-sm", "tensor"]
    kind = next(name for prefix, name in _DEVICES.items() if serving.variant.startswith(prefix))
    devices = ",".join(f"{kind}{index}" for index in range(len(serving.cards)))
    return ("-dev", devices, *words, "-fit", "off")


def rung(serving: Serving, context: int, batch: int, utilisation: int) -> tuple[str, ...]:
    """-c is that of all requests together; -ub decides how large the buffers are."""
    words: tuple[str, ...] = ()
    if context:
        words += ("-c", str((serving.context >> context) * serving.parallel))
    if batch:
        words += ("-ub", str(_UBATCH >> batch))
    return words


def splits_by_tensor(architecture: str) -> bool:
    """Whether `-sm tensor` knows models of an architecture."""
    return architecture.lower().replace("-", "_") not in _NO_TENSOR_SPLIT


def _cache_type(serving: Serving) -> tuple[str, ...]:
    kind = serving.kv_type
    return ("-fa", "on", "-ctk", kind, "-ctv", kind) if kind != "f16" else ()
