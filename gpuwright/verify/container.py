"""Checks of the containers that run: are they the ones that the units' files describe, and as confined?"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gpuwright.plan import HostPlan
from gpuwright.plan.model import EnvFile, Json, Service
from gpuwright.plan.serving.serving import HOME
from gpuwright.verify.check import UNREAD, Finding, check, compare, unknown
from gpuwright.verify.parts import planned
from gpuwright.verify.readings import ABSENT, Readings

Inspected = dict[str, Json]
DOCS = "docker container inspect; the unit's template"


@check("container.running", severity="critical", source=DOCS)
def running(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Does every service's container run?"""
    yield from _each(readings, plan, "running", lambda _, c: str(c.get("State")), "The service is down.")


@check(
    "container.own",
    severity="critical",
    source="the label that the unit gives it; systemd.exec(5), INVOCATION_ID",
)
def own(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Is it the container that the unit's present start made?"""
    expected = "made by the unit's present start"
    for service in planned(plan, Service):
        unit = (readings.units or {}).get(service.unit)
        inspected = _inspected(readings, service)
        if unit is None or inspected is None:
            yield unknown(service.container, UNREAD, expected)
            continue
        same = bool(unit.start) and inspected.get("Start") == unit.start
        observed = expected if same else "another one has its name" if inspected else ABSENT
        meaning = "What answers is not what the unit's file describes."
        yield compare(service.container, observed, expected, meaning, _restart(service))


@check("container.image", severity="critical", source=DOCS)
def image(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Does the container run the planned image? References are resolved to ids on the host."""
    for service in planned(plan, Service):
        wanted = (readings.images or {}).get(service.image)
        inspected = _inspected(readings, service)
        if wanted is None or inspected is None:
            yield unknown(service.container, UNREAD, service.image)
            continue
        meaning = "Another program answers, or the service cannot start again."
        if wanted == ABSENT:
            observed = "the engine does not have the planned image"
            yield compare(
                service.container,
                observed,
                service.image,
                meaning,
                "Run the deploy again: it brings the image.",
            )
            continue
        observed = ABSENT if inspected.get("Image") is None else str(inspected.get("Image"))
        yield compare(service.container, observed, wanted, meaning, _restart(service))


@check("container.privileged", severity="critical", source=DOCS)
def privileged(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Is the container not privileged, and does it get no devices but its GPUs, as the key's file names them?"""
    for service in planned(plan, Service):
        file = (readings.env_files or {}).get(service.env_file)
        inspected = _inspected(readings, service)
        words = (file.words.split() if file else None) if service.gpu_way else []
        if inspected is None or words is None:
            yield unknown(service.container, UNREAD, "not privileged, no devices but its GPUs")
            continue
        expected = f"not privileged, {_given(words)}"
        privileged = "privileged" if inspected.get("Privileged") is not False else "not privileged"
        observed = f"{privileged}, {_given(_devices(inspected))}" if inspected else ABSENT
        meaning = "What breaks out of the engine owns the host, or it has other GPUs than planned."
        yield compare(service.container, observed, expected, meaning, _restart(service))


@check("container.arguments", severity="major", source="plan, arguments")
def arguments(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Was the engine started with the planned words? Those of the out-of-memory ladder may follow."""
    for service in planned(plan, Service):
        inspected = _inspected(readings, service)
        listed = None if inspected is None else inspected.get("Arguments")
        words = tuple(str(word) for word in listed) if isinstance(listed, list) else ()
        rung = (readings.rungs or {}).get(service.name, ("none", ""))[1].split()
        expected = f"{len(service.arguments)} words as planned"
        same = words in (service.arguments, (*service.arguments, *rung))
        observed = None if inspected is None else expected if same else " ".join(words) or "no words"
        yield compare(
            service.container,
            observed,
            expected,
            "The engine runs otherwise than it was sized.",
            _restart(service),
        )


@check("container.shared-memory", severity="major", source=f"{DOCS}; vllm-project/vllm#1710")
def shared_memory(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Is /dev/shm as large as ranks that speak through it need?"""
    for service in planned(plan, Service):
        if not service.shm_bytes:
            continue
        inspected = _inspected(readings, service)
        size = None if inspected is None else inspected.get("ShmSize", ABSENT)
        meaning = "NCCL and vLLM's ranks end with a bus error, or an unhandled system error."
        observed = None if size is None else f"{size} bytes"
        yield compare(service.container, observed, f"{service.shm_bytes} bytes", meaning, _restart(service))


@check("container.capabilities", severity="critical", source=f"{DOCS}; capabilities(7)")
def capabilities(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Are all capabilities dropped and none added?"""

    def observed(_: Service, container: Inspected) -> str:
        dropped, added = _words(container.get("CapDrop")), _words(container.get("CapAdd"))
        return f"dropped {dropped or 'none'}, added {added or 'none'}"

    yield from _each(
        readings, plan, "dropped ALL, added none", observed, "The engine may do more than it needs."
    )


@check("container.no-new-privileges", severity="critical", source=DOCS)
def no_new_privileges(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Is no-new-privileges set, and no confinement switched off?"""

    def observed(_: Service, container: Inspected) -> str:
        return (
            _words(container.get("SecurityOpt")).replace("no-new-privileges:true", "no-new-privileges")
            or "none"
        )

    yield from _each(readings, plan, "no-new-privileges", observed, "A setuid program could give root back.")


@check("container.read-only", severity="major", source=DOCS)
def read_only(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Is the container's root file system read-only?"""

    def observed(_: Service, container: Inspected) -> str:
        return "read-only" if container.get("ReadonlyRootfs") is True else "writable"

    yield from _each(readings, plan, "read-only", observed, "What gets in can leave something behind.")


@check("container.user", severity="critical", source=DOCS)
def user(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Does the container run as the service account, by number?"""
    names = {file.path: file.user for file in planned(plan, EnvFile)}
    for service in planned(plan, Service):
        account = (readings.accounts or {}).get(names[service.env_file])
        expected = f"{account.uid}:{account.gid}" if account else f"the ids of {names[service.env_file]}"
        inspected = _inspected(readings, service)
        if inspected is None or account is None:
            yield unknown(service.container, UNREAD, expected)
            continue
        observed = str(inspected["User"] or "root") if "User" in inspected else ABSENT
        meaning = "The engine has another account's rights."
        yield compare(service.container, observed, expected, meaning, _restart(service))


@check("container.memory", severity="major", source=DOCS)
def memory(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Is the container's memory limit the planned one?"""
    for service in planned(plan, Service):
        inspected = _inspected(readings, service)
        limit = None if inspected is None else inspected.get("Memory", ABSENT)
        observed = None if limit is None else "no limit" if limit == 0 else f"{limit} bytes"
        meaning = "A leak takes the host down, or the service is killed too early."
        yield compare(
            service.container, observed, f"{service.memory_bytes} bytes", meaning, _restart(service)
        )


@check("container.namespaces", severity="critical", source=DOCS)
def namespaces(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Does the container share the host's network, which loopback needs, and nothing else?"""

    def observed(_: Service, container: Inspected) -> str:
        ipc = (
            "private"
            if container.get("IpcMode") in ("private", "none", "")
            else str(container.get("IpcMode"))
        )
        pid = container.get("PidMode")
        return f"network {container.get('NetworkMode')}, pid {'private' if pid == '' else pid}, ipc {ipc}"

    expected = "network host, pid private, ipc private"
    yield from _each(readings, plan, expected, observed, "The container sees more, or less, than it should.")


@check("container.mounts", severity="critical", source=DOCS)
def mounts(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Are the planned directories mounted, all but a cache read-only, and nothing else?"""
    for service in planned(plan, Service):
        wanted = [_mount(source, target, writable=False) for source, target in service.mounts]
        wanted += [_mount(service.cache, HOME, writable=True)] if service.cache else []
        declared = sorted(wanted)
        expected = "; ".join(declared) or "none"
        inspected = _inspected(readings, service)
        observed = None
        if inspected is not None:
            listed = inspected.get("Mounts")
            rows = _rows(listed)
            shown = sorted(
                _mount(str(row.get("Source")), str(row.get("Destination")), row.get("RW") is not False)
                for row in rows
            )
            observed = "; ".join(shown) or ("none" if isinstance(listed, list) else ABSENT)
        meaning = "The engine can write to the host's files, or reads other ones."
        yield compare(service.container, observed, expected, meaning, _restart(service))


@check("container.environment", severity="major", source="plan, environment")
def environment(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Has the container the planned settings of its engine? Others, the key among them, are not read."""
    for service in planned(plan, Service):
        expected = f"{len(service.environment)} settings as planned"
        values = readings.variables
        if values is None or any((service.container, name) not in values for name, _ in service.environment):
            yield unknown(service.container, UNREAD, expected)
            continue
        wrong = [name for name, value in service.environment if values[service.container, name] != value]
        observed = f"other values of {', '.join(wrong)}" if wrong else expected
        meaning = "The engine runs with other settings than declared."
        yield compare(service.container, observed, expected, meaning, _restart(service))


@check("container.process", severity="critical", source="proc_pid_status(5)")
def process(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Has the process itself no capability, no way to new privileges, and the account's ids?"""
    names = {file.path: file.user for file in planned(plan, EnvFile)}
    for service in planned(plan, Service):
        account = (readings.accounts or {}).get(names[service.env_file])
        found = (readings.processes or {}).get(service.container)
        ids = f"{account.uid}:{account.gid}" if account else "?"
        expected = f"no capability, no new privileges, ids {ids}"
        if readings.processes is None or account is None:
            yield unknown(service.container, UNREAD, expected)
            continue
        if found is None:
            yield compare(
                service.container, "no process", expected, "The service is down.", _restart(service)
            )
            continue
        powers = "no capability" if set(found.effective) == {"0"} else f"capabilities {found.effective}"
        closed = "no new privileges" if found.no_new_privileges == "1" else "new privileges possible"
        observed = f"{powers}, {closed}, ids {found.user}"
        meaning = "The kernel gives it more than the container's declaration says."
        yield compare(service.container, observed, expected, meaning, _restart(service))


def _each(
    readings: Readings,
    plan: HostPlan,
    expected: str,
    observe: Callable[[Service, Inspected], str],
    meaning: str,
) -> Iterator[Finding]:
    for service in planned(plan, Service):
        inspected = _inspected(readings, service)
        observed = None if inspected is None else observe(service, inspected) if inspected else ABSENT
        yield compare(service.container, observed, expected, meaning, _restart(service))


def _inspected(readings: Readings, service: Service) -> Inspected | None:
    """What the engine says of the container; empty where there is none, None where nobody could tell."""
    if readings.containers is None or service.container not in readings.containers:
        return None
    return readings.containers[service.container] or {}


def _given(words: list[str]) -> str:
    return f"given {' '.join(sorted(words))}" if words else "no devices"


def _devices(container: Inspected) -> list[str]:
    """The words of `docker run` that would give it the devices and groups that it has."""
    found: list[str] = []
    for request in _rows(container.get("DeviceRequests")):
        ids = request.get("DeviceIDs")
        names = [str(each) for each in ids] if isinstance(ids, list) else ["all of a driver's"]
        found += [word for name in names for word in ("--device", name)]
    for device in _rows(container.get("Devices")):
        found += ["--device", str(device.get("PathOnHost"))]
    groups = container.get("GroupAdd")
    for group in groups if isinstance(groups, list) else []:
        found += ["--group-add", str(group)]
    return found


def _rows(value: Json) -> list[dict[str, Json]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _mount(source: str, target: str, writable: bool) -> str:
    where = source if source == target else f"{source} at {target}"
    return f"{where}, {'writable' if writable else 'read-only'}"


def _words(value: Json) -> str:
    return " ".join(str(word) for word in value) if isinstance(value, list) else ""


def _restart(service: Service) -> str:
    return f"systemctl restart {service.unit}: the unit makes the container anew. Then verify again."
