"""Checks of GPUs: what sits on the bus, what a driver holds, what services are given."""

from __future__ import annotations

from collections.abc import Iterator

from gpuwright.plan import HostPlan
from gpuwright.plan.model import Service
from gpuwright.verify.check import UNREAD, Finding, check, compare, skipped, unknown
from gpuwright.verify.parts import planned
from gpuwright.verify.readings import Readings

DRIVERS = ("nvidia", "amdgpu")


@check("gpu.visible", severity="critical", source="PCI class 03 in /sys/bus/pci, and the driver bound there")
def visible(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Are the GPUs on the bus those that the driver holds, and those that are declared?"""
    on_bus = [gpu.address for gpu in readings.facts.gpus]
    if not on_bus:
        yield skipped("GPUs", "no GPU on the PCI bus")
        return
    expected = f"{len(on_bus)} on the bus, in the driver and declared"
    if readings.gpus is None or any(address not in readings.gpus for address in on_bus):
        yield unknown("GPUs", UNREAD, expected)
        return
    held = [address for address in on_bus if readings.gpus[address] in DRIVERS]
    given = {need.address for service in planned(plan, Service) for need in service.gpus}
    observed = f"{len(on_bus)} on the bus, {len(held)} in the driver, {len(given)} of services"
    if not given:
        yield skipped("GPUs", f"{observed}; no service declares any", expected)
        return
    lost = ", ".join(address for address in sorted(given) if address not in held)
    meaning = "A GPU that was paid for does nothing, and services that want it do not start."
    action = f"Read `dmesg` for {lost}: the driver is not loaded, or the card fell off the bus."
    expected = f"{len(on_bus)} on the bus, all {len(given)} of services in the driver"
    yield compare("GPUs", observed, expected, meaning, action, good=not lost)
