"""Checks of services on GPUs: does the container see the cards that it was given, and does the engine use them?"""

from __future__ import annotations

from collections.abc import Iterator

from gpuwright.operations.card_power import pci_address
from gpuwright.plan import HostPlan
from gpuwright.plan.model import GpuNeed, Service
from gpuwright.verify.check import UNREAD, Finding, check, compare, unknown
from gpuwright.verify.parts import planned
from gpuwright.verify.readings import Readings

MIB = 1024**2
# Below this share of the planned weights an engine has not loaded them there; above this share of the plan it takes
# what others may have been promised. Drivers' contexts and fragmentation move the total by some per cent.
_LOADED, _MORE = 0.7, 1.1


@check(
    "gpu.in-container", severity="critical", source="nvidia-smi inside, render nodes of /dev/dri; peers.md 18"
)
def in_container(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Does each service's container see exactly the GPUs that the plan gives it, by UUID or PCI address?"""
    for service in _on_gpus(plan):
        seen, uuids = readings.rows("service_gpus", 3), readings.columns("gpu_uuids", 2, lambda row: row[0])
        expected = _named({need.address: (uuids or {}).get(need.address, "-") for need in service.gpus})
        if seen is None or uuids is None or any(not uuids.get(need.address) for need in service.gpus):
            yield unknown(service.container, UNREAD, expected)
            continue
        inside = {pci_address(place): uuid for name, place, uuid in seen if name == service.container}
        yield compare(
            service.container,
            _named(inside) or "no GPU",
            expected,
            "The engine runs on other GPUs than planned, or silently on the CPU.",
            f"Read `journalctl -u {service.unit}`; deploy again, which renews CDI and unit.",
        )


@check("gpu.memory", severity="critical", source="nvidia-smi, compute processes; /sys/class/kfd/kfd/proc")
def memory(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Do the service's own processes hold on each GPU what was planned? None at all is a service on the CPU."""
    for service in _on_gpus(plan):
        held = readings.rows("gpu_memory", 3)
        process = (readings.processes or {}).get(service.container)
        for need in service.gpus:
            subject = f"{service.name} on {need.address}"
            expected = _wanted(need)
            if held is None or readings.processes is None or not all(row[2].isdigit() for row in held):
                yield unknown(subject, UNREAD, expected)
                continue
            mine = [
                int(mib)
                for place, space, mib in held
                if process is not None and space == process.space and pci_address(place) == need.address
            ]
            used = sum(mine) * MIB
            least = _LOADED * need.weights_bytes
            most = _MORE * need.free_bytes if need.free_bytes else float("inf")
            observed = f"{sum(mine)} MiB" if mine else "nothing: it runs on the CPU"
            yield compare(
                subject,
                observed,
                expected,
                "The engine does not use the GPU as planned: answers are slow, or others have no room.",
                f"Read `journalctl -u {service.unit}` for the devices that it names; gpuwright size shows the terms.",
                good=bool(mine) and least <= used <= most,
            )


@check("service.rung", severity="major", source="out_of_memory; templates/inference/ladder.sh.j2")
def rung(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Does the service run as declared, and not on a rung of its out-of-memory ladder?"""
    for service in planned(plan, Service):
        if not service.rungs:
            continue
        found = (readings.rungs or {}).get(service.name)
        observed = None
        if found is not None:
            observed = "as declared" if found[0] == "none" else f"rung {found[0]}: {found[1]}"
        yield compare(
            service.name,
            observed,
            "as declared",
            "A start ran out of GPU memory, and it has given up some of what was declared since.",
            "Declare less, or free the GPU and remove /var/lib/gpuwright/rungs/"
            f"{service.name}.env; then systemctl restart {service.unit}.",
        )


def _on_gpus(plan: HostPlan) -> list[Service]:
    return [service for service in planned(plan, Service) if service.gpu_way]


def _named(gpus: dict[str, str]) -> str:
    return ", ".join(f"{place}{f' {uuid}' if uuid != '-' else ''}" for place, uuid in sorted(gpus.items()))


def _wanted(need: GpuNeed) -> str:
    if not need.free_bytes:
        return "some memory"
    return f"{int(_LOADED * need.weights_bytes) // MIB} to {int(_MORE * need.free_bytes) // MIB} MiB"
