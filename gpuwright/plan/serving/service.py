"""One service: whose GPUs, which image, whether it fits, and what its engine is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gpuwright.catalog import Catalog
from gpuwright.facts import HostFacts
from gpuwright.plan.collectives import CONF
from gpuwright.plan.gpu_model import CollectivesPlan, DriverPlan, InterconnectPlan, RuntimePlan
from gpuwright.plan.model import GpuNeed, Image, ModelStorePlan, Service
from gpuwright.plan.notes import Notes
from gpuwright.plan.peers import Card
from gpuwright.plan.serving import ENGINES, Engine, custom
from gpuwright.plan.serving.fit import SOURCE, Fit, fit
from gpuwright.plan.serving.idle import idle_variables
from gpuwright.plan.serving.images import NAMES, Chosen, choose
from gpuwright.plan.serving.ladder import rungs
from gpuwright.plan.serving.serving import CACHE, Serving
from gpuwright.plan.serving.shapes import shape_of
from gpuwright.plan.sizing.model import ModelFacts
from gpuwright.plan.stack_model import CdiSpec
from gpuwright.settings import HostSettings, ServiceDeclaration

FIRST_PORT = 8080
ETC = "/etc/gpuwright"
GIB = 1024**3
MIB = 1024**2
# NCCL takes about 10 MB of /dev/shm for a connection, vLLM's ranks more (vllm-project/vllm#1710; serving.md C8).
SHM_BYTES = 8 * GIB
FIRST_CONTEXT = 4096
START_S = 600
# A cold file on a slow disk: a start must not be given up while the model is still being read.
READ_BYTES_PER_S = 100_000_000


@dataclass(frozen=True)
class Ground:
    """What was decided before, and services stand on."""

    facts: HostFacts
    settings: HostSettings
    catalog: Catalog
    store: ModelStorePlan
    cards: tuple[Card, ...]
    drivers: tuple[DriverPlan, ...]
    runtimes: tuple[RuntimePlan, ...]
    specs: tuple[CdiSpec, ...]
    interconnect: InterconnectPlan
    collectives: CollectivesPlan
    shapes: Mapping[str, ModelFacts]


def plan_service(
    index: int,
    declared: ServiceDeclaration,
    owned: tuple[Card, ...] | None,
    ground: Ground,
    notes: Notes,
) -> tuple[Service, Image] | None:
    """One service with its image, or None after a refusal was noted."""
    settings, catalog = ground.settings, ground.catalog
    name = declared.model or settings.inference.inference_model
    model = next((model for model in ground.store.models if model.name == name), None)
    if owned is None or model is None:
        return None
    engine = ENGINES[declared.engine]
    if (problem := engine.refuses(declared, model)) is not None:
        notes.refuse(f"service {declared.name}", *problem)
        return None
    shape = shape_of(name, settings, catalog, ground.shapes, notes)
    declared = _with_context(declared, shape)
    memory = _memory(declared, ground.facts)
    image = choose(declared, owned, ground.drivers, ground.facts, settings, catalog, notes)
    fitting = fit(declared, name, shape, owned, memory, notes)
    if image is None or fitting is None:
        return None
    fabric = ground.interconnect.p2p == "fabric"
    port = declared.port or FIRST_PORT
    serving = Serving(declared, model, image.variant, port, owned, fitting.request, fitting.layout, fabric)
    way = _way(declared, owned, ground, notes)
    vendor = NAMES[owned[0].row.vendor] if owned else ""
    idle = idle_variables(declared, vendor, ground.drivers, catalog, notes)
    _explain(f"inference.services.{index}", serving, image, fitting, engine, notes)
    service = Service(
        name=declared.name,
        unit=f"gpuwright-{declared.name}.service",
        container=f"gpuwright-{declared.name}",
        engine=declared.engine,
        variant=image.variant,
        model=model.name,
        image=image.image.reference,
        port=port,
        memory_bytes=memory,
        start_timeout_s=declared.start_timeout_s or _start_s(fitting, image),
        mounts=((model.directory, model.directory), *_conf(serving, ground)),
        environment=_environment(serving, engine, idle),
        arguments=(
            *engine.arguments(serving),
            *(custom.filled(word, serving) for word in declared.arguments),
        ),
        gpu_way=way,
        after=tuple(spec.service for spec in ground.specs if spec.service and spec.vendor == vendor),
        gpus=_needs(serving, fitting),
        ram_bytes=_ram(fitting, memory),
        cache=f"{CACHE}/{declared.name}" if engine.CACHE or owned else "",
        shm_bytes=SHM_BYTES if serving.ranks > 1 else engine.SHM_BYTES,
        rungs=rungs(serving, engine),
        out_of_memory=engine.OUT_OF_MEMORY if declared.out_of_memory else "",
        busy=engine.BUSY if declared.drain_s else "",
        drain_s=declared.drain_s,
        conf_file=f"{ETC}/{declared.name}.conf",
        env_file=f"{ETC}/{declared.name}.env",
        key=engine.key(declared),
    )
    return service, image.image


def _explain(path: str, serving: Serving, image: Chosen, fitting: Fit, engine: Engine, notes: Notes) -> None:
    declared = serving.declared
    on = ", ".join(card.row.name for card in serving.cards) or "no GPU: the processor"
    notes.why("inference.images", image.reason, image.source)
    notes.why(f"{path}.image", image.reason, image.source)
    notes.why(f"{path}.variant", f"accelerator is {declared.accelerator}; {on}", "roles/inference/README.md")
    notes.why(f"{path}.memory_bytes", "memory_gib, or 80 % of the host's memory", "role inference")
    notes.why(f"{path}.start_timeout_s", "declared, or 10 minutes and the time to read the weights", SOURCE)
    notes.why(f"{path}.environment", "what the engine's version knows, and what is declared", engine.SOURCE)
    notes.why(f"{path}.arguments", fitting.reason, f"{SOURCE}; {engine.SOURCE}")
    notes.why(f"{path}.gpus", fitting.reason, SOURCE)
    notes.why(f"{path}.ram_bytes", fitting.reason, SOURCE)
    notes.why(f"{path}.gpu_way", "as the runtime of the cards' vendor gives them", "slice runtimes")
    notes.why(
        f"{path}.shm_bytes",
        "processes speak through /dev/shm, of which Docker gives 64 MB",
        "vllm-project/vllm#1710",
    )
    notes.why(f"{path}.after", "at boot the specification of its GPUs is made first", "slice gpu_runtime")
    notes.why(f"{path}.rungs", "out_of_memory", engine.SOURCE)
    notes.why(f"{path}.mounts", "the model; with several GPUs what NCCL or RCCL reads", "slice collectives")


def _with_context(declared: ServiceDeclaration, shape: ModelFacts | None) -> ServiceDeclaration:
    """Without a declared context that of small tasks, or all that the model knows where that is less."""
    if declared.context is not None:
        return declared
    context = min(FIRST_CONTEXT, shape.context) if shape else FIRST_CONTEXT
    return declared.model_copy(update={"context": context})


def _start_s(fitting: Fit, image: Chosen) -> int:
    """Ten minutes, as much again where code is compiled first, and the time to read the weights."""
    return START_S * (2 if image.compiles else 1) + int(fitting.bytes / READ_BYTES_PER_S)


def _environment(
    serving: Serving, engine: Engine, idle: tuple[tuple[str, str], ...]
) -> tuple[tuple[str, str], ...]:
    """The engine's, then what is declared, which wins."""
    declared = {
        name: custom.filled(value, serving) for name, value in sorted(serving.declared.environment.items())
    }
    return tuple((dict(engine.environment(serving)) | dict(idle) | declared).items())


def _way(declared: ServiceDeclaration, owned: tuple[Card, ...], ground: Ground, notes: Notes) -> str:
    """How the container gets its GPUs; where no runtime is planned the driver was refused already."""
    vendor = NAMES[owned[0].row.vendor] if owned else ""
    way = next((f"{vendor}-{each.method}" for each in ground.runtimes if each.vendor == vendor), "")
    if way == "amd-cdi" and len(owned) < sum(NAMES[card.row.vendor] == vendor for card in ground.cards):
        notes.refuse(
            f"service {declared.name}",
            "has some of the host's AMD GPUs, and gpu_runtime_method is cdi, which names them by numbers that move",
            "all of them, or device nodes",
            'Set gpu_runtime_method = "device-nodes".',
        )
    return way


def _needs(serving: Serving, fitting: Fit) -> tuple[GpuNeed, ...]:
    """What has to be free on each GPU, in whole MiB: vLLM asks for its share of all memory, and ends without it."""
    layout = fitting.layout
    if layout is None:
        return tuple(GpuNeed(card.gpu.address, 0, 0) for card in serving.cards)
    share = serving.declared.engine == "vllm"
    return tuple(
        GpuNeed(
            card.gpu.address,
            int(need.memory if share else need.total) // MIB * MIB,
            int(need.weights) // MIB * MIB,
        )
        for card, need in zip(serving.cards, layout.needs, strict=True)
    )


def _ram(fitting: Fit, limit: int) -> int:
    """What has to be available of the host's memory before a start, in whole MiB."""
    needed = fitting.layout.host if fitting.layout else fitting.bytes
    return min(int(needed), limit) // MIB * MIB


def _conf(serving: Serving, ground: Ground) -> tuple[tuple[str, str], ...]:
    """NCCL's configuration: a container does not see the host's by itself."""
    if len(serving.cards) < 2:
        return ()
    path = CONF[NAMES[serving.cards[0].row.vendor]]
    return tuple((file.path, file.path) for file in ground.collectives.files if file.path == path)


def _memory(declared: ServiceDeclaration, facts: HostFacts) -> int:
    """A limit in bytes that keeps a leaking engine from taking the host down with it.

    It does not depend on other services, or adding one would restart all.
    MemTotal moves by some MiB from kernel to kernel; whole GiB keep the plan, and so the service, as it is.
    """
    if declared.memory_gib is not None:
        return int(declared.memory_gib * GIB)
    return max(facts.memory_bytes // GIB, 1) * GIB * 8 // 10
