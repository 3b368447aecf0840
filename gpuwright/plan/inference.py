"""Slice `inference`: services as data, each an engine's container behind a systemd unit."""

from __future__ import annotations

from gpuwright.catalog import Catalog, EngineRow
from gpuwright.facts import HostFacts
from gpuwright.plan.model import (
    EnvFile,
    Image,
    InferencePlan,
    ManagedFile,
    Model,
    ModelStorePlan,
    Service,
    SystemUser,
    Unit,
)
from gpuwright.plan.notes import Notes
from gpuwright.plan.serving import ENGINES
from gpuwright.settings import HostSettings, ServiceDeclaration

FIRST_PORT = 8080
USER = "_gpuwright"
HOME = "/var/lib/gpuwright"
ETC = "/etc/gpuwright"
READY = "/usr/local/lib/gpuwright/ready"
GIB = 1024**3


def plan_inference(
    facts: HostFacts, settings: HostSettings, catalog: Catalog, store: ModelStorePlan, notes: Notes
) -> InferencePlan:
    """Units, files and images of all declared services; an empty declaration gives an empty slice."""
    notes.why("inference", "inference_services", "role inference")
    _ports_declared(settings, notes)
    services = [
        service
        for index, declared in enumerate(settings.inference.inference_services)
        if (service := _service(index, declared, facts, settings, catalog, store, notes)) is not None
    ]
    if not services:
        return InferencePlan((), (), (), (), (), ())
    notes.why(
        "inference.users",
        "a server that is broken into owns nothing on the host",
        "roles/inference/README.md",
    )
    notes.why(
        "inference.env_files", "keys and ids exist only on the host", "systemd.exec(5), EnvironmentFile="
    )
    ready = ManagedFile(READY, "inference/ready.sh.j2", mode="0755")
    files = [ready]
    for service in services:
        files.append(ManagedFile(service.conf_file, "inference/service.conf.j2", service))
        files.append(ManagedFile(f"/etc/systemd/system/{service.unit}", "inference/service.unit.j2", service))
    references = dict.fromkeys(service.image for service in services)
    return InferencePlan(
        images=tuple(Image(settings.inference.inference_image_source, reference) for reference in references),
        users=(SystemUser(USER, HOME),),
        env_files=tuple(EnvFile(s.env_file, s.key, USER) for s in services),
        files=tuple(files),
        units=tuple(_unit(service, store) for service in services),
        services=tuple(services),
    )


def _service(
    index: int,
    declared: ServiceDeclaration,
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    store: ModelStorePlan,
    notes: Notes,
) -> Service | None:
    """One service, or None after a refusal was noted."""
    name = declared.model or settings.inference.inference_model
    model = next((model for model in store.models if model.name == name), None)
    variant = _variant(declared, facts, notes)
    if model is None or variant is None:
        return None
    engine = ENGINES[declared.engine]
    if (problem := engine.refuses(model)) is not None:
        notes.refuse(f"service {declared.name}", *problem)
        return None
    image = _image(declared, variant, facts, settings, catalog, notes)
    if image is None:
        return None
    path = f"inference.services.{index}"
    port = declared.port or FIRST_PORT
    memory = _memory(declared, facts)
    notes.why(f"{path}.variant", "accelerator, and no GPU in the facts", "roles/inference/README.md")
    notes.why(f"{path}.memory_bytes", "memory_gib, or 80 % of the host's memory", "role inference")
    notes.why(f"{path}.environment", "declared, in the engine's own variables", engine.SOURCE)
    return Service(
        name=declared.name,
        unit=f"gpuwright-{declared.name}.service",
        container=f"gpuwright-{declared.name}",
        engine=declared.engine,
        variant=variant,
        model=model.name,
        image=image,
        port=port,
        memory_bytes=memory,
        start_timeout_s=declared.start_timeout_s,
        mounts=((model.directory, model.directory),),
        environment=engine.environment(declared, model, port),
        conf_file=f"{ETC}/{declared.name}.conf",
        env_file=f"{ETC}/{declared.name}.env",
        key=engine.KEY,
    )


def _variant(declared: ServiceDeclaration, facts: HostFacts, notes: Notes) -> str | None:
    if declared.accelerator == "cpu" or not facts.gpus:
        return "cpu"
    seen = ", ".join(f"{gpu.address} ({gpu.vendor}:{gpu.device})" for gpu in facts.gpus)
    notes.refuse(
        f"service {declared.name}",
        f"the host has GPUs ({seen}) and this release has no GPU variant of {declared.engine}",
        'accelerator = "cpu"',
        "Declare it if the CPU is what you want: a service never falls back to the CPU silently.",
    )
    return None


def _image(
    declared: ServiceDeclaration,
    variant: str,
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    notes: Notes,
) -> str | None:
    ours = settings.inference
    if ours.inference_image is not None:
        notes.why("inference.images", f"inference_image, source {ours.inference_image_source}", "settings")
        registry = "@" in ours.inference_image
        if registry == (ours.inference_image_source == "registry"):
            return ours.inference_image
        notes.refuse(
            f"image of service {declared.name}",
            f"inference_image is {ours.inference_image}",
            "repository@sha256:... with registry, sha256:... with local",
            "Make inference_image and inference_image_source agree.",
        )
        return None
    if ours.inference_image_source == "local":
        notes.refuse(
            f"image of service {declared.name}",
            "inference_image_source is local and inference_image is not set",
            "the id of an image on the control machine",
            "Set inference_image (docker image ls --no-trunc), or use registry.",
        )
        return None
    row = _engine_row(declared.engine, variant, facts, catalog)
    if row is None:
        notes.refuse(
            f"image of service {declared.name}",
            f"no image of {declared.engine} ({variant}) for {facts.arch} in the catalogue",
            "an image for this architecture",
            "Set inference_image to one that you trust.",
        )
        return None
    notes.why("inference.images", f"{row.tag}, pinned by digest", row.source)
    return row.image


def _engine_row(engine: str, variant: str, facts: HostFacts, catalog: Catalog) -> EngineRow | None:
    for row in catalog.engines:
        if (row.name, row.variant) == (engine, variant) and facts.arch in row.architectures:
            return row
    return None


def _ports_declared(settings: HostSettings, notes: Notes) -> None:
    """A port by position would move, under its clients, when a service is added before it."""
    services = settings.inference.inference_services
    for index, service in enumerate(services):
        if len(services) > 1 and service.port is None:
            notes.refuse(
                f"service {service.name}",
                "has no port, and the host has other services",
                "a port of its own for each of several services",
                f"Declare it, for example port = {FIRST_PORT + index}.",
            )


def _memory(declared: ServiceDeclaration, facts: HostFacts) -> int:
    """A limit in bytes that keeps a leaking engine from taking the host down with it.

    It does not depend on other services, or adding one would restart all.
    MemTotal moves by some MiB from kernel to kernel; whole GiB keep the plan, and so the service, as it is.
    """
    if declared.memory_gib is not None:
        return int(declared.memory_gib * GIB)
    return max(facts.memory_bytes // GIB, 1) * GIB * 8 // 10


def _unit(service: Service, store: ModelStorePlan) -> Unit:
    model: Model = next(model for model in store.models if model.name == service.model)
    return Unit(
        service.unit,
        watches=(
            f"/etc/systemd/system/{service.unit}",
            service.conf_file,
            service.env_file,
            READY,
            f"{model.directory}/.gpuwright.json",
        ),
        follows=("docker.service",),
    )
