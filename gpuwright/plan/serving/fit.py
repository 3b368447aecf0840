"""Whether a service fits where it is to run, before a byte of its model is downloaded."""

from __future__ import annotations

from dataclasses import dataclass

from gpuwright.plan import sizing
from gpuwright.plan.notes import Notes
from gpuwright.plan.peers import Card
from gpuwright.plan.serving import llama_cpp
from gpuwright.plan.serving.serving import context_of, kv_type_of, parallel_of
from gpuwright.plan.sizing import Request, Sizing, ram, vllm
from gpuwright.plan.sizing.model import ModelFacts
from gpuwright.plan.sizing.result import Layout, Need
from gpuwright.settings import ServiceDeclaration

GIB = 1024**3
SOURCE = "gpuwright size; docs/sizing.md"


@dataclass(frozen=True)
class Fit:
    """What was asked of the sizing and what came out; both None on a CPU, or where no shape is needed.

    `bytes` are those of all weights, 0 where nobody knows; `reason` says in words how it fits.
    """

    request: Request | None
    layout: Layout | None
    bytes: float
    reason: str


def fit(
    declared: ServiceDeclaration,
    name: str,
    shape: ModelFacts | None,
    cards: tuple[Card, ...],
    memory_bytes: int,
    notes: Notes,
) -> Fit | None:
    """None after a refusal was noted; `memory_bytes` is the container's limit of the host's memory."""
    if declared.engine == "custom":
        return Fit(None, None, 0, "a custom engine: nobody but you can say what it needs")
    if not cards:
        return _on_cpu(declared, name, shape, memory_bytes, notes)
    if shape is None:
        notes.refuse(
            f"model {name}",
            "nobody says what it is made of, so nobody can say whether it fits the GPUs",
            "its shape, before it is downloaded",
            f"gpuwright size ORG/NAME --record inventories/models/{name}.json once, or declare shape and quantisation "
            "(gpuwright size --list).",
        )
        return None
    request = _request(declared, shape, cards, memory_bytes)
    sized = sizing.size(request)
    for refusal in sized.refusals:
        subject = f"service {declared.name}: {refusal.subject}"
        notes.refuse(subject, refusal.observed, refusal.required, refusal.remedy)
    if sized.refusals or not _tensor_known(declared, sized, notes):
        return None
    layout = _layout(declared, sized)
    if layout is None or layout.verdict == "NO":
        _does_not_fit(declared, name, sized, layout, notes)
        return None
    return Fit(request, layout, _weights(layout), _words(layout))


def _load(declared: ServiceDeclaration) -> str:
    return f"{parallel_of(declared)} x {context_of(declared)} tokens"


def _on_cpu(
    declared: ServiceDeclaration, name: str, shape: ModelFacts | None, memory_bytes: int, notes: Notes
) -> Fit | None:
    if shape is None:
        return Fit(None, None, 0, "nobody says what the model is made of: the memory limit alone bounds it")
    kv_type = kv_type_of(declared)
    known = sizing.ENGINES[declared.engine]
    if shape.native not in known.FORMATS or kv_type not in known.KV_TYPES:
        remedy = "Take a model in one of its formats, another kv_type, or another engine."
        required = f"{', '.join(known.FORMATS)}; cache of {', '.join(known.KV_TYPES)}"
        notes.refuse(
            f"model {name}", f"{declared.engine} does not read {shape.native}, {kv_type}", required, remedy
        )
        return None
    if context_of(declared) > shape.context:
        _too_long(declared, name, shape, notes)
        return None
    if (why := _divides(declared, shape)) is not None:
        remedy = "Declare a tensor_parallel that divides them."
        notes.refuse(f"service {declared.name}", why, "a division that vLLM can do", remedy)
        return None
    need = ram.needed(shape, declared.engine, context_of(declared), parallel_of(declared), kv_type)
    if need > memory_bytes:
        notes.refuse(
            f"service {declared.name}",
            f"model {name} needs about {need / GIB:.1f} GiB of memory with {_load(declared)}, "
            f"and its container gets {memory_bytes / GIB:.1f} GiB",
            "memory that holds weights, cache and program",
            "Declare memory_gib, less context or parallel, or take a smaller model.",
        )
        return None
    request = Request(
        shape,
        declared.engine,
        shape.native,
        (),
        context_of(declared),
        parallel_of(declared),
        kv_type,
        memory_bytes,
    )
    return Fit(request, None, need, f"about {need / GIB:.1f} GiB of {memory_bytes / GIB:.1f} GiB of memory")


def _too_long(declared: ServiceDeclaration, name: str, shape: ModelFacts, notes: Notes) -> None:
    notes.refuse(
        f"service {declared.name}",
        f"context {context_of(declared)} is declared, and model {name} knows {shape.context} tokens",
        f"at most {shape.context}",
        "Declare less, or take a model that was trained for more.",
    )


def _divides(declared: ServiceDeclaration, shape: ModelFacts) -> str | None:
    if declared.engine != "vllm" or not declared.tensor_parallel:
        return None
    return vllm.invalid(shape, shape.native, declared.tensor_parallel)


def _request(
    declared: ServiceDeclaration, shape: ModelFacts, cards: tuple[Card, ...], memory_bytes: int
) -> Request:
    return Request(
        model=shape,
        engine=declared.engine,
        quantisation=shape.native,
        gpus=tuple(card.row for card in cards),
        context=context_of(declared),
        users=parallel_of(declared),
        kv_type=kv_type_of(declared),
        host_bytes=memory_bytes,
        utilisation=declared.gpu_memory_utilization,
    )


def _tensor_known(declared: ServiceDeclaration, sized: Sizing, notes: Notes) -> bool:
    """Whether the engine can divide the model as declared; a refusal is noted where it cannot."""
    subject = f"service {declared.name}"
    model, count = sized.request.model, len(sized.request.gpus)
    if declared.split == "tensor" and not llama_cpp.splits_by_tensor(model.architecture):
        remedy = 'Set split = "layer".'
        notes.refuse(
            subject, f'split = "tensor" of {model.architecture}', "what llama.cpp can divide", remedy
        )
        return False
    tensor = declared.tensor_parallel
    if tensor is None or any(layout.tensor == tensor for layout in sized.layouts):
        return True
    why = vllm.invalid(model, sized.request.quantisation, tensor)
    can = ", ".join(str(layout.tensor) for layout in sorted(sized.layouts, key=lambda each: each.tensor))
    notes.refuse(
        subject,
        f"tensor_parallel = {tensor}: {why or f'{count} GPUs are no multiple of {tensor}'}",
        f"one of {can or 'none'}",
        "Declare one of them, or leave it away: the layout that fits best is taken then.",
    )
    return False


def _layout(declared: ServiceDeclaration, sized: Sizing) -> Layout | None:
    wanted = declared.tensor_parallel
    fitting = [each for each in sized.layouts if wanted is None or each.tensor == wanted]
    return fitting[0] if fitting else None


def _does_not_fit(
    declared: ServiceDeclaration, name: str, sized: Sizing, layout: Layout | None, notes: Notes
) -> None:
    tokens = sizing.most_tokens(sized)
    less = f"Declare context = {tokens} or less" if tokens >= 128 else "Take a format with fewer bits"
    worst = min(layout.needs, key=lambda need: need.free) if layout else None
    reasons = "; ".join(dict.fromkeys(why for _, why in sized.invalid))
    notes.refuse(
        f"service {declared.name}",
        f"model {name} ({sized.request.quantisation}) with {_load(declared)} does not fit: "
        + (_terms(worst) if worst else reasons or "no layout is possible"),
        f"room for it on {', '.join(gpu.name for gpu in sized.request.gpus)}",
        f"{less}, less parallel or a smaller kv_type, more GPUs, or take a smaller model (gpuwright size tries them).",
    )


def _terms(need: Need) -> str:
    parts = (
        ("weights", need.weights),
        ("cache", need.cache),
        ("workspace", need.workspace),
        ("runtime", need.runtime),
    )
    sums = " + ".join(f"{what} {size / GIB:.2f}" for what, size in parts)
    return (
        f"{sums} = {need.total / GIB:.2f} GiB of the {need.memory / GIB:.2f} GiB that a {need.gpu} has for it"
    )


def _weights(layout: Layout) -> float:
    return sum(need.weights for need in layout.needs) + layout.host


def _words(layout: Layout) -> str:
    worst = min(layout.needs, key=lambda need: need.free)
    return f"{layout.verdict}, {layout.label}: {_terms(worst)}"
