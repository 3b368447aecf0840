"""Whether a CDI specification is true of its host, and what the others beside it are: by what is seen there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gpuwright.operations.cdi_host import CdiHost, HostGpu, SpecFile
from gpuwright.operations.cdi_spec import Node, Spec, generated
from gpuwright.operations.units import STARTS_AT_BOOT
from gpuwright.plan.stack_model import CdiSpec


@dataclass(frozen=True)
class Beside:
    """Another file for the same devices: `what` is stale (a generated copy), true (one that is not), ours to leave
    (by-hand), or clashes (an engine that reads both of one directory takes neither). `why` says so in words.
    """

    path: str
    what: str
    why: str


def beside(wanted: CdiSpec, host: CdiHost) -> tuple[Beside, ...]:
    """What lies beside the specification and concerns its devices, in order."""
    found = (_beside(wanted, host, file) for path, file in sorted(host.files.items()) if path != wanted.path)
    return tuple(each for each in found if each is not None)


def _beside(wanted: CdiSpec, host: CdiHost, file: SpecFile) -> Beside | None:
    known = file.path in wanted.copies
    if file.spec is None:
        if known and any(mark in file.text for mark in wanted.marks):
            return Beside(file.path, "stale", file.unreadable)
        return Beside(file.path, "by-hand", f"cannot be read: {file.unreadable}") if known else None
    if file.spec.kind != wanted.kind:
        return Beside(file.path, "by-hand", f"is of kind {file.spec.kind}") if known else None
    own = host.files.get(wanted.path)
    twice = own.spec.devices.keys() & file.spec.devices.keys() if own and own.spec else set()
    if twice and _directory(file.path) == _directory(wanted.path):
        return Beside(file.path, "clashes", f"has {wanted.kind}={min(twice)} as well")
    if not generated(file.text, file.spec, wanted.marks):
        return Beside(file.path, "by-hand", "was written by hand")
    reasons = stale(wanted, host, file.path)
    if not reasons:
        return Beside(file.path, "true", "is a copy that is true of the host")
    if not known:
        return Beside(file.path, "by-hand", f"is stale ({reasons[0]}), under a name that no tool chose")
    return Beside(file.path, "stale", reasons[0])


def _directory(path: str) -> str:
    return path.rpartition("/")[0]


def stale(wanted: CdiSpec, host: CdiHost, path: str) -> tuple[str, ...]:
    """Why the specification at `path` is not true of the host; nothing where it is."""
    file = host.files.get(path)
    if file is None:
        return ("it is not there",)
    if file.spec is None:
        return (file.unreadable,)
    if file.spec.kind != wanted.kind:
        return (f"its kind is {file.spec.kind}, not {wanted.kind}",)
    return (*_of_driver(wanted, host, file.spec), *_of_host(wanted, host, file.spec), *_age(host, file))


def not_ready(wanted: CdiSpec, host: CdiHost) -> str:
    """Why no specification can be made now, before somebody reboots or loads the driver; "" where it can."""
    if host.loaded is None:
        return f"the driver is not loaded (module {wanted.module})"
    if host.loaded and host.on_disk and host.loaded != host.on_disk:
        return f"driver {host.loaded} is loaded, and {host.on_disk} is on the disk"
    return ""


def unit_amiss(wanted: CdiSpec, host: CdiHost) -> str:
    """What is wrong with the unit that makes it anew at each boot, which takes away all below /run; "" for nothing."""
    if not wanted.service:
        return ""
    load, enabled, needs_reload = host.service
    if enabled not in STARTS_AT_BOOT:
        return enabled or load
    return "changed on the disk, and not loaded since" if needs_reload == "yes" else ""


def _of_driver(wanted: CdiSpec, host: CdiHost, spec: Spec) -> tuple[str, ...]:
    if not wanted.versions:
        return ()
    named = spec.versions(wanted.versions)
    if not named:
        return ("it names no library of the driver",)
    if named != (host.loaded,):
        return (f"it is of driver {', '.join(named)}, and {host.loaded or 'none'} is loaded",)
    return ()


def _of_host(wanted: CdiSpec, host: CdiHost, spec: Spec) -> Iterable[str]:
    missing = [path for path in spec.paths if path not in host.there]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        yield f"the host has no {missing[0]}{more}"
    for node in spec.all_nodes:
        real = host.nodes.get(node.path)
        if real is not None and (other := _differs(node, real)):
            yield f"{node.path} has another {other}"
    given = {node.path for node in spec.all_nodes}
    for path in wanted.nodes:
        if path not in given:
            yield f"it does not give {path}"
    for gpu in host.gpus:
        if not _has(spec, gpu):
            yield f"it lacks GPU {gpu.address}{f' ({gpu.uuid})' if gpu.uuid else ''}"


def _has(spec: Spec, gpu: HostGpu) -> bool:
    """By UUID; by its node where the driver has none, or where only its partitions are devices of their own."""
    if gpu.uuid in spec.devices:
        return True
    names = [name for name, nodes in spec.devices.items() if gpu.node in {node.path for node in nodes}]
    return bool(names) and (not gpu.uuid or any(name.startswith("MIG-") for name in names))


def _differs(said: Node, real: Node) -> str:
    pairs = (
        ("major number", said.major, real.major),
        ("minor number", said.minor, real.minor),
        ("group", said.gid, real.gid),
    )
    return next((what for what, says, has in pairs if says is not None and says != has), "")


def _age(host: CdiHost, file: SpecFile) -> Iterable[str]:
    """When a module was loaded cannot be seen: sysfs and procfs date a file by when somebody first looked at it."""
    newer = [program for program, changed in host.programs.items() if changed > file.changed_ns]
    if newer:
        yield f"it is older than {', '.join(newer)}"
