"""llama.cpp: layers split over GPUs in proportion to their memory, the last with the output; experts in RAM if need be.

Source: llama.cpp b11434, src/llama-model.cpp (splits), src/llama-context.cpp (buffers), docs/multi-gpu.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from gpuwright.catalog.gpus import GpuRow
from gpuwright.plan.sizing import cache, constants, quantisation
from gpuwright.plan.sizing.model import Matrix, chosen, matrices
from gpuwright.plan.sizing.request import Request
from gpuwright.plan.sizing.result import Layout, Need, Verdict

FORMATS = quantisation.GGUF
KV_TYPES: tuple[str, ...] = ("f16", "bf16", "q8_0", "q4_0")
_OF_RAM = 0.9  # the rest is for the system and buffers


def layouts(request: Request) -> Iterator[Layout]:
    """The layer split over all GPUs; where it does not fit, the one with the fewest experts in RAM as well."""
    whole = _layout(request, 0)
    yield whole
    if whole.verdict == "NO" and request.model.experts is not None:
        moved = _fewest(request, ("PASS",)) or _fewest(request, ("PASS", "TIGHT"))
        if moved is not None:
            yield moved


def flags(request: Request, layout: Layout) -> tuple[str, ...]:
    """llama-server's: tools/server/README.md of b11434."""
    found = [
        "-ngl",
        "all",
        "-fa",
        "on",
        "-c",
        str(request.context * request.users),
        "-np",
        str(request.users),
    ]
    if request.kv_type != "f16":
        found += ["-ctk", request.kv_type, "-ctv", request.kv_type]
    if layout.split:
        found += ["-sm", "layer", "-ts", ",".join(str(layers) for layers in layout.split)]
    if layout.host_layers:
        experts = request.model.experts
        found += ["--n-cpu-moe", str(layout.host_layers + (experts.dense_layers if experts else 0))]
    return tuple(found)


def _fewest(request: Request, wanted: tuple[Verdict, ...]) -> Layout | None:
    """With the experts of as few layers in RAM as it takes; each that moves takes load off a GPU and adds none."""
    experts = request.model.experts
    low, high = 1, request.model.layers - (experts.dense_layers if experts else 0)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _layout(request, middle).verdict in wanted else (middle + 1, high)
    layout = _layout(request, low)
    enough = request.host_bytes is None or layout.host <= _OF_RAM * request.host_bytes
    return layout if layout.verdict in wanted and enough else None


def _layout(request: Request, moved: int) -> Layout:
    model, gpus = request.model, request.gpus
    units = _units(request, moved)
    # As llama.cpp does it by itself, unless layers are as different as with and without their experts: -ts then.
    shares = _split([sum(unit) for unit in units] if moved else [1.0] * len(units), gpus)
    needs = []
    for index, gpu in enumerate(gpus):
        mine = [unit for unit, share in zip(units, shares, strict=True) if share == index]
        last = index == len(gpus) - 1
        needs.append(
            Need(
                gpu.name,
                weights=sum(weights for weights, _ in mine),
                cache=sum(kv for _, kv in mine),
                workspace=_buffer(request, last=last),
                runtime=constants.CONTEXT_BYTES,
                memory=gpu.visible_bytes - constants.RESERVED_BYTES,
                margin=constants.LLAMA_MARGIN,
            )
        )
    host = sum(_size(request, matrix) for matrix in matrices(model) if _in_ram(request, matrix, moved))
    return Layout(
        tensor=1,
        pipeline=1,
        needs=tuple(needs),
        host=host,
        host_layers=moved,
        split=tuple(shares.count(index) for index in range(len(gpus))) if len(gpus) > 1 else (),
    )


def _units(request: Request, moved: int) -> list[tuple[float, float]]:
    """Bytes of weights and cache of each layer, and of the output, in their order."""
    model = request.model
    weights = [0.0] * (model.layers + 1)
    for matrix in matrices(model):
        if not _in_ram(request, matrix, moved):
            weights[matrix.layer if matrix.layer >= 0 else model.layers] += _size(request, matrix)
    per_token = cache.of_layer(model, request.kv_type)
    held = [
        cache.cells(model, layer, request.context, request.users, constants.UBATCH) * per_token
        for layer in range(model.layers)
    ]
    return list(zip(weights, [*held, 0.0], strict=True))


def _in_ram(request: Request, matrix: Matrix, moved: int) -> bool:
    """The embedding, which is only looked up (unless it is the output as well), and the experts that were moved."""
    if matrix.role == "embedding":
        return not request.model.tied
    return chosen(request.model, matrix, moved)


def _split(units: list[float], gpus: tuple[GpuRow, ...]) -> list[int]:
    """The GPU of each unit: in order, so that each has as much of them as of the memory."""
    total = sum(gpu.memory_gb for gpu in gpus)
    ends = [part / total for part in accumulate(gpu.memory_gb for gpu in gpus)]
    begins = [0.0, *accumulate(units)]
    return [
        next(index for index, end in enumerate(ends) if begin / begins[-1] < end or index == len(ends) - 1)
        for begin in begins[:-1]
    ]


def _buffer(request: Request, *, last: bool) -> float:
    """Logits of a batch in 32 bits where the output is; hidden states twice everywhere, with flash attention."""
    model = request.model
    logits = model.vocab if last else 0
    return 4.0 * constants.UBATCH * (logits + 2 * model.hidden)


def _size(request: Request, matrix: Matrix) -> float:
    return quantisation.size(request.quantisation, matrix, request.model, gguf=True)
