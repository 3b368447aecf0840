"""Checks of what containers get GPUs by: toolkits, CDI specifications, engines that know CDI, and device nodes.

They judge what was set up. Whether a container has the host's GPUs is asked of each service's container.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from gpuwright.catalog.version import at_least
from gpuwright.operations import cdi_host, cdi_stale, device_nodes
from gpuwright.operations.cdi_host import CdiHost
from gpuwright.operations.locked_packages import below
from gpuwright.plan import HostPlan
from gpuwright.plan.stack_model import CdiSpec, DeviceNodes
from gpuwright.verify import driver_readings as read
from gpuwright.verify.check import DEPLOY, UNREAD, Finding, check, compare, skipped, unknown
from gpuwright.verify.readings import ABSENT, Readings

SPEC = "container-device-interface, SPEC.md; pkg/cdi: /etc/cdi, then /var/run/cdi"
TRUE = "true of the host"


@check("runtime.toolkit", severity="major", source="dpkg; catalog/runtimes.toml: minimum")
def toolkit(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Are the toolkit's packages of one version, and is that new enough?"""
    for locked in plan.gpu_runtime.locked:
        there = read.locked_packages(readings)
        expected = f"one version, {locked.minimum} or newer" if locked.minimum else "one version"
        if there is None:
            yield unknown(locked.name, UNREAD, expected)
            continue
        found = {name: there[name].version for name in locked.packages if name in there and there[name].whole}
        lacking = [f"no {name}" for name in locked.packages if name not in found]
        versions = sorted(set(found.values()))
        good = not lacking and len(versions) == 1 and not below(versions[0], locked.minimum)
        meaning = "Containers get GPUs by other rules than planned, or none at all."
        action = f"{DEPLOY} Versions change by `gpuwright lock HOST --update`."
        yield compare(locked.name, ", ".join((*versions, *lacking)), expected, meaning, action, good=good)


@check("runtime.cdi", severity="critical", source=f"{SPEC}; /proc/driver/nvidia; KFD's topology in sysfs")
def cdi(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Is each CDI specification of the driver that runs, with paths that exist and every GPU?"""
    for spec in plan.gpu_runtime.specs:
        host = _host(readings, spec)
        if host is None:
            yield unknown(spec.path, UNREAD, TRUE)
            continue
        reasons = cdi_stale.stale(spec, host, spec.path)
        if reason := cdi_stale.not_ready(spec, host):
            reasons = (reason, *reasons)
        meaning = "Containers that ask for a GPU do not start, or meet another driver than the one that runs."
        observed = "; ".join(reasons) or TRUE
        yield compare(spec.path, observed, TRUE, meaning, f"{DEPLOY} Then restart what runs on the GPUs.")


@check("runtime.cdi-beside", severity="major", source=SPEC)
def cdi_beside(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Is there no stale copy of a specification, and none that takes its devices?"""
    for spec in plan.gpu_runtime.specs:
        host = _host(readings, spec)
        expected = f"no other file for {spec.kind}"
        if host is None:
            yield unknown(f"beside {spec.path}", UNREAD, expected)
            continue
        others = cdi_stale.beside(spec, host)
        if not others:
            yield compare(f"beside {spec.path}", expected, expected, "", "")
        for other in others:
            if other.what in ("stale", "clashes"):
                meaning = "Engines read it too: containers get what is no longer there, or no GPU."
                action = DEPLOY if other.what == "stale" else "Look who wrote it, and move it away."
                yield compare(other.path, other.why, expected, meaning, action)
            else:
                yield skipped(other.path, f"{other.why}: left as it is", expected)


@check(
    "runtime.cdi-at-boot", severity="critical", source="systemctl(1), is-enabled; NVIDIA's nvidia-cdi-refresh"
)
def cdi_at_boot(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Will each specification below /run be made anew at the next boot?"""
    for spec in plan.gpu_runtime.specs:
        if not spec.service:
            yield skipped(spec.path, "it stays on the disk, and no unit makes it anew")
            continue
        host = _host(readings, spec)
        observed = None if host is None else cdi_stale.unit_amiss(spec, host) or "enabled"
        meaning = "After a reboot no container gets a GPU."
        yield compare(spec.service, observed, "enabled", meaning, DEPLOY)


@check("runtime.docker", severity="critical", source="docker info: CDISpecDirs, empty where CDI is off")
def docker(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Does the engine that runs look for CDI specifications where they lie?"""
    for spec in plan.gpu_runtime.specs:
        directory = spec.path.rpartition("/")[0]
        expected = f"{directory} is read"
        directories = _directories(readings)
        if directories is None:
            action = "`docker info` by hand: it fails where the engine is down, or older than CDI."
            yield unknown(f"Docker, {spec.kind}", UNREAD, expected, action)
            continue
        reads = directory in directories or directory.removeprefix("/var") in directories
        observed = expected if reads else f"reads {', '.join(directories) or 'none: CDI is off'}"
        meaning = "Docker knows no GPU, and refuses containers that ask for one."
        action = f"{DEPLOY} An engine that is older than its daemon.json restarts, when nobody else's containers run."
        yield compare(f"Docker, {spec.kind}", observed, expected, meaning, action)


@check("runtime.podman", severity="minor", source="catalog/runtimes.toml: podman")
def podman(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Where podman is installed: does it know CDI?"""
    for spec in plan.gpu_runtime.specs:
        expected = f"{spec.podman} or newer"
        said = (readings.names("podman_version") or ("",))[0]
        version = re.search(r"\d+(\.\d+)+", said)
        if said == ABSENT:
            yield skipped(f"podman, {spec.kind}", "not installed", expected)
        elif version is None:
            yield unknown(f"podman, {spec.kind}", UNREAD, expected)
        else:
            meaning = "Its containers get no GPU by CDI."
            good = at_least(version[0], spec.podman)
            action = "Take a newer podman, or Docker."
            yield compare(f"podman, {spec.kind}", version[0], expected, meaning, action, good=good)


@check(
    "runtime.nodes", severity="critical", source="Linux, amdgpu and KFD device nodes; systemd's udev rules"
)
def nodes(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Are the device nodes that containers get there, and of the group whose number they get?"""
    for each in plan.gpu_runtime.nodes:
        found = _nodes(readings, each)
        for name in (*each.common, *each.gpus):
            expected = f"there, for the group {each.group}"
            if found is None or name not in found:
                yield unknown(name, UNREAD, expected)
                continue
            observed = found[name].wrong(each.group) or expected
            meaning = "Services in containers find no GPU, or may not open it."
            action = "`journalctl -k -b` says why the driver made none; a udev rule says which group it gets."
            yield compare(name, observed, expected, meaning, action)


def _host(readings: Readings, spec: CdiSpec) -> CdiHost | None:
    text = readings.sections.get(f"cdi:{spec.vendor}")
    try:
        host = None if text is None else cdi_host.read(text.splitlines())
    except ValueError:
        return None
    return host if host is not None and bool(host.service) == bool(spec.service) else None


def _nodes(readings: Readings, nodes: DeviceNodes) -> dict[str, device_nodes.FoundNode] | None:
    text = readings.sections.get(f"device_nodes:{nodes.vendor}")
    try:
        rows = None if text is None else device_nodes.read(line for line in text.splitlines() if line)
        return None if rows is None else {row.of: row for row in rows}
    except ValueError:
        return None


def _directories(readings: Readings) -> list[str] | None:
    try:
        found = json.loads(readings.sections.get("docker_cdi", ""))
    except ValueError:
        return None
    return [] if found is None else [str(each) for each in found] if isinstance(found, list) else None
