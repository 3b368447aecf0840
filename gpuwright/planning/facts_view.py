"""Facts for people: one table for each host, with the catalogue's names for its GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gpuwright.catalog.gpus import GpuCatalog
from gpuwright.facts import AMD, NVIDIA, HostFacts
from gpuwright.facts.model import Kernel, PciDevice
from gpuwright.planning.view import printable

P2P_SYMBOLS = ("PCI_P2PDMA", "HSA_AMD_P2P")


def render(host: str, facts: HostFacts, gpus: GpuCatalog) -> Table:
    """Everything that a person asks first; `gpuwright facts --json` has all of it."""
    table = Table(
        title=escape(host), title_justify="left", title_style="bold", show_header=False, min_width=60
    )
    for name, value in rows(facts, gpus):
        table.add_row(name, Text(printable(value), overflow="fold"))
    return table


def rows(facts: HostFacts, gpus: GpuCatalog) -> Iterator[tuple[str, str]]:
    """(what, value), in the order in which a machine is built up; a part that is not there has no row."""
    machine = " ".join(filter(None, (facts.machine.vendor, facts.machine.product)))
    yield "machine", f"{machine or 'unnamed'}, {_kind(facts.virtualisation)}"
    yield "system", f"{facts.os_name}, {facts.arch}, pid 1 is {facts.init}"
    processor = " ".join(filter(None, (f"{facts.cpus} CPUs", facts.cpu_vendor)))
    yield "processor", f"{processor}, {_size(facts.memory_bytes)} of memory"
    boot = facts.boot
    yield (
        "boot",
        f"{boot.firmware}, {boot.loader}, Secure Boot {boot.secure_boot}, /boot/grub on {boot.grubenv}",
    )
    now = {link.address: link for link in facts.readings.links}
    for device in facts.display:
        link = now.get(device.address)
        yield "GPU" if device in facts.gpus else "display", _gpu(device, gpus, link.driver if link else "")
    for nic in facts.nics:
        words = [
            nic.name,
            nic.driver,
            f"RDMA {nic.rdma}" * bool(nic.rdma),
            "default route" * nic.default_route,
        ]
        yield "network", ", ".join(filter(None, words))
    for disk in facts.disks:
        yield "disk", f"{disk.name}, {_size(disk.bytes)}{', rotating' if disk.rotational else ''}"
    for driver in facts.found.drivers:
        state = "loaded" if driver.loaded else "on disk"
        yield (
            "driver found",
            " ".join(filter(None, (driver.name, driver.version)))
            + (f", {driver.modules} modules, from {driver.origin}, {state}"),
        )
    for kernel in facts.found.kernels:
        yield "kernel found", _kernel(kernel)
    if facts.found.packages:
        yield "packages", ", ".join(f"{each.name} {each.version}" for each in facts.found.packages)
    for left in facts.found.leftovers:
        yield "left behind", f"{left.kind}: {left.detail}"
    for label, values in (("held", facts.readings.holds), ("engines", facts.readings.engines)):
        if values:
            yield label, ", ".join(values)
    for item in facts.readings.denied:
        yield "not readable", item


def _gpu(device: PciDevice, gpus: GpuCatalog, driver: str) -> str:
    row = gpus.row(device.vendor, device.device, device.subsystem)
    unknown = ", not in the catalogue" if device.vendor in (NVIDIA, AMD) else ""
    name = row.name if row else f"{device.vendor}:{device.device}{unknown}"
    words = [f"{device.address} {name}"]
    if device.link_speed_max and device.link_width_max:
        words.append(f"PCIe {device.link_speed_max:g} GT/s x{device.link_width_max}")
    if any(device.bars):
        words.append(f"BAR {_size(max(device.bars))}")
    if device.numa is not None:
        words.append(f"NUMA node {device.numa}")
    if device.boot_display:
        words.append("console")
    words.append("for a guest" if device.passthrough else driver or "no driver bound")
    return ", ".join(words)


def _kernel(kernel: Kernel) -> str:
    config = dict(kernel.config)
    p2p = ", ".join(f"{symbol}={config.get(symbol, 'unknown')}" for symbol in P2P_SYMBOLS)
    headers = "headers" if kernel.headers else "no headers"
    return f"{kernel.release}{' (running)' if kernel.running else ''}, {headers}, {p2p}"


def _size(count: int) -> str:
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count} bytes"


def _kind(virtualisation: str) -> str:
    words = {"none": "metal", "unknown": "virtualisation unknown"}
    return words.get(virtualisation, f"inside {virtualisation}")
