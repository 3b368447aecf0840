"""vLLM: `vllm serve`, the entry point of its official images; the words after the image begin with the model."""

from __future__ import annotations

from gpuwright.plan import sizing
from gpuwright.plan.model import Model
from gpuwright.plan.serving.serving import HOME, Serving
from gpuwright.plan.sizing import cache
from gpuwright.plan.sizing.vllm import batch_of
from gpuwright.settings import ServiceDeclaration

SOURCE = "vLLM 0.33, docs/getting_started/installation, vllm/envs.py, vllm serve --help=all"
BUSY = "vllm:num_requests_running"
OUT_OF_MEMORY = (
    "out of memory|OutOfMemoryError|No available memory for the cache blocks|Free memory on device|"
    "larger than the available KV cache memory|needed, which is larger than"
)
CACHE = True
# It wants 240 MiB free there for its queues, with one rank as well (measured with 0.32).
SHM_BYTES = 1024**3
GIB, MIB = 1024**3, 1024**2
# Of one rank on a processor, where nobody knows the model's shape; and the least that is of use.
_CPU_CACHE, _LEAST_CACHE = GIB, 64 * MIB
_CPU_BATCH = 2048


def key(_: ServiceDeclaration) -> str:
    """It protects /v1 alone: /metrics, /health, /tokenize and /invocations answer anybody on the host."""
    return "VLLM_API_KEY"


def refuses(declared: ServiceDeclaration, model: Model) -> tuple[str, str, str] | None:
    """A directory in Hugging Face's layout; GGUF went to a plugin that the images do not have."""
    if model.entry.endswith(".gguf"):
        remedy = 'Take the model\'s safetensors repository, or engine = "llama_cpp".'
        return f"model {model.name} is a GGUF file ({model.entry})", "a directory with safetensors", remedy
    if model.entry != model.directory:
        remedy = "Take a repository with config.json, without `file`."
        return f"model {model.name} is one file ({model.entry})", "a directory with config.json", remedy
    if declared.split == "tensor":
        remedy = "Declare tensor_parallel."
        return 'split = "tensor" is declared', "llama.cpp, whose setting it is", remedy
    if declared.accelerator == "vulkan":
        return 'accelerator = "vulkan" is declared', "cuda, rocm or cpu", 'Use engine = "llama_cpp".'
    return None


def environment(serving: Serving) -> tuple[tuple[str, str], ...]:
    """Nothing goes out. Whatever it compiles stays below its home, and a start of tomorrow finds it there.

    PyTorch before 2.13 asks who a user is that has no name in the image, unless it is told (vllm-project/vllm#44548).
    """
    found = [
        ("HOME", HOME),
        ("USER", "gpuwright"),
        ("LOGNAME", "gpuwright"),
        ("HF_HUB_OFFLINE", "1"),
        ("VLLM_NO_USAGE_STATS", "1"),
    ]
    if serving.variant.startswith("cuda"):
        found += [("CUDA_DEVICE_ORDER", "PCI_BUS_ID")]
    if serving.variant == "rocm":
        found += [("AITER_ROOT_DIR", f"{HOME}/aiter")]
    if serving.ranks > 1:
        # All ranks are on this host: what they tell each other, without any key, is for nobody else to hear.
        found += [("GLOO_SOCKET_IFNAME", "lo")]
        found += (
            [("NCCL_SOCKET_IFNAME", "lo")] if serving.cards else [("VLLM_CPU_OMP_THREADS_BIND", "nobind")]
        )
    return tuple(found)


def arguments(serving: Serving) -> tuple[str, ...]:
    """The model, where it listens, and how it lies on its GPUs."""
    declared = serving.declared
    words = [serving.model.entry, "--served-model-name", serving.model.name]
    words += ["--host", "127.0.0.1", "--port", str(serving.port)]
    if serving.request is not None and serving.layout is not None:
        words += sizing.flags(serving.request, serving.layout)
    else:
        words += ["--max-model-len", str(serving.context), "--max-num-seqs", str(serving.parallel)]
    if declared.parallel is None:
        # One must fit; how many more do is vLLM's to find out.
        place = words.index("--max-num-seqs")
        del words[place : place + 2]
    if not serving.cards:
        # Without it each rank takes nearly all that its container may have.
        words += ["--kv-cache-memory-bytes", str(_cpu_cache(serving))]
    if serving.layout is None and serving.ranks > 1:
        words += ["--tensor-parallel-size", str(serving.ranks)]
    if serving.ranks > 1 and serving.cards and not serving.fabric:
        # It does P2P by itself, whatever NCCL_P2P_DISABLE says (vllm-project/vllm#51513).
        words += ["--disable-custom-all-reduce"]
    return (*words, "--shutdown-timeout", str(declared.drain_s))


def rung(serving: Serving, context: int, batch: int, utilisation: int) -> tuple[str, ...]:
    """Of two equal flags the last one counts."""
    declared = serving.declared
    words: tuple[str, ...] = ()
    if context:
        words += ("--max-model-len", str(serving.context >> context))
    if batch:
        tokens = batch_of(serving.request) if serving.request and serving.cards else _CPU_BATCH
        words += ("--max-num-batched-tokens", str(tokens >> batch))
    if utilisation:
        share = round(declared.gpu_memory_utilization - 0.05 * utilisation, 2)
        words += ("--gpu-memory-utilization", f"{share:g}")
    return words


def _cpu_cache(serving: Serving) -> int:
    """Bytes of the cache of one rank for all requests, in whole MiB."""
    request = serving.request
    if request is None:
        return _CPU_CACHE // serving.ranks
    model = request.model
    each = cache.of_layer(model, request.kv_type, serving.ranks)
    cells = sum(
        cache.cells(model, layer, request.context, request.users, _CPU_BATCH) for layer in range(model.layers)
    )
    return max(_LEAST_CACHE, -(-int(each * cells) // MIB) * MIB)
