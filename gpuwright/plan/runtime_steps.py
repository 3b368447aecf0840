"""Slice `gpu_runtime`: what is installed, written and checked so that containers get GPUs the planned way."""

from __future__ import annotations

from dataclasses import dataclass

from gpuwright.catalog import Catalog
from gpuwright.catalog.runtimes import CdiRow, DeviceNodesRow, RuntimeRow
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import DriverPlan, Gpu, RuntimePlan
from gpuwright.plan.model import ManagedFile, Unit
from gpuwright.plan.notes import Notes
from gpuwright.plan.stack_model import CdiSpec, DeviceNodes, LockedSet, RuntimeSteps

PATH = "gpu_runtime"


@dataclass(frozen=True)
class RefreshUnit:
    """Context of a drop-in of the unit that makes a CDI specification anew."""

    after: tuple[str, ...]
    condition: str
    prepare: tuple[str, ...]


def plan_runtime_steps(
    facts: HostFacts,
    catalog: Catalog,
    gpus: tuple[Gpu, ...],
    drivers: tuple[DriverPlan, ...],
    runtimes: tuple[RuntimePlan, ...],
    notes: Notes,
) -> RuntimeSteps:
    """All vendors' toolkits in one slice; a toolkit comes whoever brought the driver."""
    notes.why(PATH, "what the ways of the plan need", "slice runtimes")
    locked: tuple[LockedSet, ...] = ()
    files: tuple[ManagedFile, ...] = ()
    specs: tuple[CdiSpec, ...] = ()
    nodes: tuple[DeviceNodes, ...] = ()
    units: tuple[Unit, ...] = ()
    for runtime in runtimes:
        row = next(r for r in catalog.runtimes if (r.vendor, r.method) == (runtime.vendor, runtime.method))
        ours = tuple(gpu.address for gpu in gpus if (gpu.vendor, gpu.use) == (runtime.vendor, "compute"))
        for known in catalog.device_nodes if not runtime.packages else ():
            if known.vendor == runtime.vendor:
                nodes += (_nodes(known, ours, len(nodes), notes),)
        for cdi in catalog.cdi if runtime.packages else ():
            if cdi.runtime != row.name:
                continue
            module = next(driver.module for driver in drivers if driver.vendor == runtime.vendor)
            locked += (_toolkit(row, runtime, facts, len(locked), notes),)
            specs += (_spec(cdi, row, module, len(specs), notes),)
            files += _refresh(cdi, len(files), notes)
            units += (Unit(cdi.watcher),) if cdi.watcher else ()
    repositories = tuple(repository for runtime in runtimes for repository in runtime.repositories)
    return RuntimeSteps(repositories, locked, files, specs, nodes, units)


def _nodes(row: DeviceNodesRow, gpus: tuple[str, ...], place: int, notes: Notes) -> DeviceNodes:
    reason = f"containers get {row.vendor}'s nodes as they are, with the number of the group {row.group}"
    notes.why(f"{PATH}.nodes.{place}", reason, row.source)
    return DeviceNodes(row.vendor, row.common, gpus, row.group)


def _toolkit(row: RuntimeRow, runtime: RuntimePlan, facts: HostFacts, place: int, notes: Notes) -> LockedSet:
    """Nothing in it holds a GPU, so it changes while services run; and only together, by the lock."""
    path = f"{PATH}.locked.{place}"
    minimum = row.oldest(facts.os_id)
    notes.why(path, "its packages are of one version, which changes by the lock alone", row.source)
    floor = f"older ones do not do on {facts.os_id}" if minimum else "any version does"
    notes.why(f"{path}.minimum", floor, row.source)
    return LockedSet(row.name, (), runtime.packages, "", (), minimum=minimum)


def _spec(row: CdiRow, runtime: RuntimeRow, module: str, place: int, notes: Notes) -> CdiSpec:
    path = f"{PATH}.specs.{place}"
    notes.why(
        path, f"how container engines know {runtime.vendor}'s GPUs; it goes stale with the driver", row.source
    )
    notes.why(f"{path}.copies", "a stale one is read as well, and gives what is no longer there", row.source)
    notes.why(f"{path}.nodes", "without them no program in a container finds a GPU", row.source)
    notes.why(f"{path}.podman", "the oldest that knows CDI, should the host have one", runtime.source)
    return CdiSpec(
        vendor=runtime.vendor,
        kind=row.kind,
        path=row.path,
        copies=row.copies,
        marks=row.marks,
        versions=row.versions,
        module=module,
        toolkit=row.runtime,
        tool=row.tool,
        service=row.service,
        generate=row.generate,
        nodes=row.nodes,
        prepare=row.prepare,
        podman=runtime.podman,
    )


def _refresh(row: CdiRow, place: int, notes: Notes) -> tuple[ManagedFile, ...]:
    """The unit as the toolkit brings it would be skipped for some modules, and come before what belongs into it."""
    if not row.service:
        return ()
    reason = "it has to start with any of the driver's modules, after whatever makes the nodes and sockets to be in it"
    notes.why(f"{PATH}.files.{place}", reason, row.source)
    drop_in = f"/etc/systemd/system/{row.service}.d/gpuwright.conf"
    return (
        ManagedFile(
            drop_in, "gpu_runtime/cdi-refresh.conf.j2", RefreshUnit(row.after, row.condition, row.prepare)
        ),
    )
