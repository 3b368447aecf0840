"""Slice `inference`: services as data, each an engine's container behind a systemd unit."""

from __future__ import annotations

from collections.abc import Mapping

from gpuwright.catalog import Catalog
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import CollectivesPlan, DriverPlan, Gpu, InterconnectPlan, RuntimePlan
from gpuwright.plan.model import (
    EnvFile,
    InferencePlan,
    ManagedFile,
    Model,
    ModelStorePlan,
    Service,
    SystemUser,
    Unit,
)
from gpuwright.plan.notes import Notes
from gpuwright.plan.peers import cards
from gpuwright.plan.serving.gpus import assign
from gpuwright.plan.serving.service import FIRST_PORT, Ground, plan_service
from gpuwright.plan.serving.shared import shared_fit
from gpuwright.plan.sizing.model import ModelFacts
from gpuwright.plan.stack_model import CdiSpec
from gpuwright.settings import HostSettings

USER = "_gpuwright"
HOME = "/var/lib/gpuwright"
LIBRARY = "/usr/local/lib/gpuwright"
SCRIPTS = ("ready", "gate", "ladder", "drain")


def plan_inference(
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    store: ModelStorePlan,
    gpus: tuple[Gpu, ...],
    drivers: tuple[DriverPlan, ...],
    runtimes: tuple[RuntimePlan, ...],
    specs: tuple[CdiSpec, ...],
    interconnect: InterconnectPlan,
    collectives: CollectivesPlan,
    shapes: Mapping[str, ModelFacts],
    notes: Notes,
) -> InferencePlan:
    """Units, files and images of all declared services; an empty declaration gives an empty slice."""
    notes.why("inference", "inference_services", "role inference")
    _ports_declared(settings, notes)
    declared = settings.inference.inference_services
    compute = cards(facts, gpus, catalog)
    ground = Ground(
        facts, settings, catalog, store, compute, drivers, runtimes, specs, interconnect, collectives, shapes
    )
    owned = assign(declared, compute, facts, notes)
    found = [
        plan_service(index, each, owned[each.name], ground, notes) for index, each in enumerate(declared)
    ]
    planned = [each for each in found if each is not None]
    if not planned:
        return InferencePlan((), (), (), (), (), ())
    services = tuple(service for service, _ in planned)
    shared_fit(services, compute, notes)
    notes.why(
        "inference.users",
        "a server that is broken into owns nothing on the host",
        "roles/inference/README.md",
    )
    notes.why(
        "inference.env_files",
        "keys, ids and what containers call a GPU exist only on the host",
        "systemd.exec(5), EnvironmentFile=",
    )
    return InferencePlan(
        images=tuple(dict.fromkeys(image for _, image in planned)),
        users=(SystemUser(USER, HOME),),
        env_files=tuple(
            EnvFile(s.env_file, s.key, USER, s.gpu_way, tuple(need.address for need in s.gpus))
            for s in services
        ),
        files=_files(services),
        units=tuple(_unit(service, store) for service in services),
        services=services,
    )


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


def _files(services: tuple[Service, ...]) -> tuple[ManagedFile, ...]:
    files = [ManagedFile(f"{LIBRARY}/{name}", f"inference/{name}.sh.j2", mode="0755") for name in SCRIPTS]
    for service in services:
        files.append(ManagedFile(service.conf_file, "inference/service.conf.j2", service))
        files.append(ManagedFile(f"/etc/systemd/system/{service.unit}", "inference/service.unit.j2", service))
    return tuple(files)


def _unit(service: Service, store: ModelStorePlan) -> Unit:
    model: Model = next(model for model in store.models if model.name == service.model)
    return Unit(
        service.unit,
        watches=(
            f"/etc/systemd/system/{service.unit}",
            service.conf_file,
            service.env_file,
            *(f"{LIBRARY}/{name}" for name in SCRIPTS),
            f"{model.directory}/.gpuwright.json",
            *(source for source, _ in service.mounts[1:]),
        ),
        follows=("docker.service",),
    )
