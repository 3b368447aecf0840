"""vLLM: tensor and pipeline parallelism; a share of each GPU's whole memory is taken, the rest of it is cache.

Source: vLLM 0.33, v1/worker/gpu_worker.py, config/model.py, model_executor/models/llama.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

from gpuwright.catalog.gpus import GpuRow
from gpuwright.facts import NVIDIA
from gpuwright.plan.sizing import cache, constants, quantisation
from gpuwright.plan.sizing.model import Matrix, ModelFacts, matrices
from gpuwright.plan.sizing.request import Request
from gpuwright.plan.sizing.result import Layout, Need

FORMATS = quantisation.SAFETENSORS
KV_TYPES: tuple[str, ...] = ("f16", "bf16", "fp8")
HOPPER, ADA = 90, 89
_SEQUENCES = 256
_GROUPED = {"awq": 128, "gptq": 128, "w4a16": 128, "fp8": 128}


def layouts(request: Request) -> Iterator[Layout]:
    """Every product of tensor and pipeline parallelism that is valid for all GPUs."""
    count = len(request.gpus)
    for tensor in range(1, count + 1):
        stages = count // tensor
        divides = count % tensor == 0 and stages <= request.model.layers
        if divides and invalid(request.model, request.quantisation, tensor) is None:
            yield _layout(request, tensor, stages)


def flags(request: Request, layout: Layout) -> tuple[str, ...]:
    """`vllm serve`'s, of 0.33."""
    found = ["--max-model-len", str(request.context), "--max-num-seqs", str(request.users)]
    found += ["--gpu-memory-utilization", f"{request.utilisation:g}"]
    if layout.tensor > 1:
        found += ["--tensor-parallel-size", str(layout.tensor)]
    if layout.pipeline > 1:
        found += ["--pipeline-parallel-size", str(layout.pipeline)]
    return (*found, "--kv-cache-dtype", "fp8") if request.kv_type == "fp8" else tuple(found)


def invalid(model: ModelFacts, format_: str, tensor: int) -> str | None:
    """Why vLLM cannot divide the model by `tensor`; None where it can."""
    if model.heads % tensor:
        return f"{model.heads} attention heads are not divisible by {tensor}"
    kv = model.kv_heads
    if model.latent is None and kv % tensor and tensor % kv:
        return f"{kv} key-value heads cannot be divided by, or repeated on, {tensor} GPUs"
    group = _GROUPED.get(format_)
    if format_ == "fp8" and not (model.native == "fp8" or model.experts):
        group = None  # a scale for each row; blocks of 128 x 128 are DeepSeek's and Qwen3's
    width = model.experts.ffn if model.experts else model.ffn
    if group and tensor > 1 and width % tensor == 0 and (width // tensor) % group:
        padded = -(-width // (tensor * group)) * tensor * group
        return (
            f"{width} / {tensor} = {width // tensor} is no multiple of the {group} weights of a {format_} group; a "
            f"checkpoint that was padded to {padded} would do"
        )
    if width % tensor:
        return f"a feed-forward width of {width} is not divisible by {tensor}"
    return None


def capability(gpu: GpuRow) -> int:
    """NVIDIA's compute capability, 89 for 8.9; 0 for others."""
    return int(gpu.target.removeprefix("sm_")) if gpu.vendor == NVIDIA else 0


def _layout(request: Request, tensor: int, pipeline: int) -> Layout:
    model = request.model
    per_layer, embedding, output = _weights(request, tensor)
    kv = cache.of_layer(model, request.kv_type, tensor)
    held = [
        kv * cache.cells(model, layer, request.context, request.users, batch_of(request))
        for layer in range(model.layers)
    ]
    collective = constants.COLLECTIVE_BYTES if len(request.gpus) > 1 else 0.0
    needs = []
    for stage, (first, last) in enumerate(_stages(model.layers, pipeline)):
        ends = (embedding if stage == 0 else 0.0) + (output if stage == pipeline - 1 else 0.0)
        for gpu in request.gpus[stage * tensor : (stage + 1) * tensor]:
            memory = (gpu.visible_bytes - constants.RESERVED_BYTES) * request.utilisation
            needs.append(
                Need(
                    gpu.name,
                    weights=sum(per_layer[first:last]) + ends,
                    cache=sum(held[first:last]),
                    workspace=_activations(request, tensor) + constants.VLLM_GRAPHS_BYTES,
                    runtime=constants.CONTEXT_BYTES + collective,
                    memory=memory,
                    margin=memory * constants.VLLM_MARGIN_SHARE,
                )
            )
    return Layout(tensor, pipeline, tuple(needs))


def _weights(request: Request, tensor: int) -> tuple[list[float], float, float]:
    """Bytes of each layer, of the embedding and of the output, on one of `tensor` GPUs."""
    model = request.model
    per_layer = [0.0] * model.layers
    embedding = output = 0.0
    for matrix in matrices(model):
        size = quantisation.size(request.quantisation, _padded(request, matrix), model, gguf=False)
        size /= _divided(matrix, tensor)
        if matrix.layer >= 0:
            per_layer[matrix.layer] += size
        elif matrix.role == "embedding":
            embedding += size
        else:
            output += size
    # With more than one stage the last has the embedding once more, where it is the output as well.
    tied_elsewhere = model.tied and len(request.gpus) > tensor
    return per_layer, embedding, embedding if tied_elsewhere else output


def _padded(request: Request, matrix: Matrix) -> Matrix:
    """MXFP4 on Hopper and newer: experts are widened to what the kernels' tiles want.

    Source: vllm-project/vllm#23278 (65.97 GiB for gpt-oss-120b), against #22331 (12.88 GiB for gpt-oss-20b on Ampere).
    """
    newer = all(capability(gpu) >= HOPPER for gpu in request.gpus)
    if not (matrix.expert and request.quantisation == "mxfp4" and newer):
        return matrix
    hidden, width = (256, 128) if matrix.role != "down" else (128, 256)
    return replace(
        matrix, columns=-(-matrix.columns // hidden) * hidden, rows=-(-matrix.rows // width) * width
    )


def _divided(matrix: Matrix, tensor: int) -> int:
    """How often a matrix is divided: vectors, routers and what compresses for MLA are whole on every GPU."""
    return 1 if matrix.role in ("vectors", "router", "latent") else tensor


def _stages(layers: int, pipeline: int) -> list[tuple[int, int]]:
    """First and last layer of each stage: as even as it goes, what is over to stages in the middle."""
    size, over = divmod(layers, pipeline)
    sizes = [size] * pipeline
    for index in range(over):
        sizes[-2 - index if pipeline > index + 1 else index] += 1
    edges = [sum(sizes[:index]) for index in range(pipeline + 1)]
    return list(itertools.pairwise(edges))


def batch_of(request: Request) -> int:
    """Tokens of the profile run: A100s count as small (vLLM 0.33, engine/arg_utils.py; from memory)."""
    large = all(gpu.visible_bytes >= constants.VLLM_LARGE and gpu.target != "sm_80" for gpu in request.gpus)
    return request.batch or (constants.VLLM_BATCH_LARGE if large else constants.VLLM_BATCH_SMALL)


def _activations(request: Request, tensor: int) -> float:
    """The peak of the profile run: activations of the widest layer for a batch of tokens, and logits of all sequences.

    Experts reduce in 32 bits, others in 16.
    """
    model, batch = request.model, batch_of(request)
    width, each = (model.experts.ffn * model.experts.active, 4.0) if model.experts else (model.ffn, 2.0)
    inner = each * batch * 2 * width / tensor
    return inner + 2.0 * batch * 4 * model.hidden + 4.0 * _SEQUENCES * model.vocab
