"""The plan: facts, settings and the catalogue in; what the host gets, with reasons, or refusals out.

Pure: no I/O, no clock, neither pyinfra nor Ansible. `plan(facts after a deploy) == plan(facts before it)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from gpuwright.catalog import Catalog
from gpuwright.errors import Refusal
from gpuwright.facts import HostFacts
from gpuwright.plan.amd import plan_amd
from gpuwright.plan.base import plan_base
from gpuwright.plan.collectives import plan_collectives
from gpuwright.plan.container_engine import plan_container_engine
from gpuwright.plan.fabric import plan_fabric
from gpuwright.plan.firmware import plan_firmware
from gpuwright.plan.gpu_model import DriverPlan
from gpuwright.plan.gpus import plan_gpus
from gpuwright.plan.holds import plan_holds
from gpuwright.plan.host_plan import HostPlan
from gpuwright.plan.inference import plan_inference
from gpuwright.plan.interconnect import plan_interconnect
from gpuwright.plan.kernel import plan_kernel
from gpuwright.plan.model import Reason
from gpuwright.plan.model_store import plan_model_store
from gpuwright.plan.notes import Notes
from gpuwright.plan.nvidia import plan_nvidia
from gpuwright.plan.power import plan_power
from gpuwright.plan.runtime import plan_runtimes
from gpuwright.plan.runtime_steps import plan_runtime_steps
from gpuwright.plan.sizing.model import ModelFacts
from gpuwright.plan.stack import plan_driver_steps, plan_kernel_steps
from gpuwright.settings import HostSettings

__all__ = ["HostPlan", "Reason", "plan_host"]


NOTHING_RECORDED: Mapping[str, ModelFacts] = MappingProxyType({})


def plan_host(
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    shapes: Mapping[str, ModelFacts] = NOTHING_RECORDED,
) -> HostPlan | tuple[Refusal, ...]:
    """What this host gets, or every reason why it gets nothing. Total: it raises for no input.

    `shapes` are of models by the name that they are declared by: what was recorded, or read of a file that is here.
    """
    notes = Notes()
    _supported(facts, catalog, notes)
    if notes.refusals:
        return tuple(notes.refusals)  # names and packages are by release: nothing below could be judged
    models = plan_model_store(settings, catalog, notes)
    gpus = plan_gpus(facts, settings, catalog, notes)
    kernel = plan_kernel(facts, settings, catalog, gpus, notes)
    drivers: tuple[DriverPlan, ...] = ()
    for plan_driver in (plan_nvidia, plan_amd):
        driver = plan_driver(facts, settings, catalog, gpus, kernel, f"drivers.{len(drivers)}", notes)
        drivers += (driver,) if driver else ()
    fabric = plan_fabric(facts, settings, catalog, gpus, drivers, notes)
    runtimes = plan_runtimes(facts, settings, catalog, gpus, drivers, notes)
    firmware = plan_firmware(facts, settings, catalog, gpus, drivers, kernel, notes)
    holds = plan_holds(catalog, kernel, drivers, fabric, runtimes, notes)
    interconnect = plan_interconnect(facts, settings, catalog, gpus, drivers, kernel, notes)
    collectives = plan_collectives(facts, settings, catalog, gpus, interconnect, notes)
    gpu_runtime = plan_runtime_steps(facts, catalog, gpus, drivers, runtimes, notes)
    below = (gpus, drivers, runtimes, gpu_runtime.specs, interconnect, collectives)
    stack = (facts, catalog, kernel, drivers, fabric, firmware, notes)
    plan = HostPlan(
        base=plan_base(facts, settings, catalog, drivers, notes),
        container_engine=plan_container_engine(facts, settings, catalog, runtimes, notes),
        model_store=models,
        inference=plan_inference(facts, settings, catalog, models, *below, shapes, notes),
        gpus=gpus,
        kernel=kernel,
        drivers=drivers,
        firmware=firmware,
        fabric=fabric,
        runtimes=runtimes,
        interconnect=interconnect,
        collectives=collectives,
        power=plan_power(facts, settings, catalog, gpus, drivers, notes),
        holds=holds,
        kernel_steps=plan_kernel_steps(facts, settings, catalog, kernel, drivers, holds, notes),
        nvidia_driver=plan_driver_steps("nvidia", *stack),
        rocm=plan_driver_steps("amd", *stack),
        gpu_runtime=gpu_runtime,
        why={},
    )
    if notes.refusals:
        return tuple(notes.refusals)
    return replace(plan, why=notes.explain(path for path, _ in plan.leaves()))


def _supported(facts: HostFacts, catalog: Catalog, notes: Notes) -> None:
    known = [f"{row.id} {row.version}" for row in catalog.releases]
    if facts.release not in known:
        notes.refuse(
            "operating system",
            facts.os_name or "no name in os-release",
            ", ".join(known),
            "Install one of these; nothing was changed.",
        )
    if facts.init != "systemd":
        notes.refuse(
            "init system",
            f"pid 1 is {facts.init}",
            "systemd",
            "Boot the host with systemd; services are systemd units.",
        )
    if facts.arch not in ("x86_64", "aarch64"):
        notes.refuse("architecture", facts.arch, "x86_64 or aarch64", "No engine image exists for it.")
