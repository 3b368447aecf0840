"""Plans, reasons and differences for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from gpuwright.plan import HostPlan
from gpuwright.plan.gpu_model import DriverPlan
from gpuwright.plan.model import Json
from gpuwright.planning.compare import Difference, Side
from gpuwright.planning.explained import Leaf
from gpuwright.planning.planned import Planned

# A row of the table, and the leaf whose reason stands beside it.
Row = tuple[str, str, str]


def show_plans(hosts: Iterable[Planned], console: Console) -> None:
    """A table for each host, and at the end all refusals."""
    refused: list[Planned] = []
    for host in hosts:
        if host.plan is None:
            refused.append(host)
        else:
            console.print(_plan(host.host, host.plan), highlight=False)
            console.print()
    show_refusals(refused, console)


def show_refusals(hosts: Iterable[Planned], console: Console) -> None:
    """Every refusal of every refused host, each on one line with its remedy."""
    listed = [host for host in hosts if host.refusals]
    if not listed:
        return
    console.print(Text("Refused:", style="bold red"))
    for host in listed:
        for refusal in host.refusals:
            console.print(Text(printable(f"  {host.host}  {refusal}")), soft_wrap=True, highlight=False)


def printable(text: str) -> str:
    """`text` with a question mark for what would steer a terminal: facts may come from anywhere.

    >>> printable("\\x1b[31mred\\n")
    '?[31mred\\n'
    """
    return "".join(each if each.isprintable() or each == "\n" else "?" for each in text)


def explanation(leaves: Iterable[Leaf]) -> Text:
    """Values in order, and below those that share them their reason and its source; `*`: not checked yet."""
    lines: list[Text] = []
    unchecked = False
    for (reason, source, memory), group in groupby(
        leaves, lambda leaf: (leaf.reason, leaf.source, leaf.memory)
    ):
        lines += [Text.assemble((leaf.path, "bold"), f" = {printable(_text(leaf.value))}") for leaf in group]
        unchecked = unchecked or memory
        style = "yellow" if memory else "dim"
        lines += [
            Text(printable(f"    {reason}")),
            Text(f"    {'* ' if memory else ''}{source}", style=style),
            Text(),
        ]
    if unchecked:
        lines.append(Text("* rests on memory: check it before you rely on it", style="yellow"))
    return Text("\n").join(lines)


def differences(first: str, second: str, found: Iterable[Difference]) -> Table:
    """A row for each path, each side with its reason."""
    table = Table("value", escape(first), escape(second))
    for each in found:
        table.add_row(Text(each.path, overflow="fold"), _side(each.first), _side(each.second))
    return table


def _side(side: Side | None) -> Text:
    if side is None:
        return Text("-")
    text = Text.assemble(printable(_text(side.value)), "\n", (printable(side.why.reason), "dim"))
    text.overflow = "fold"
    return text


def _text(value: Json) -> str:
    return value if isinstance(value, str) and value else repr(value)


def _plan(host: str, plan: HostPlan) -> Table:
    title = escape(f"{host}  plan {plan.digest[:12]}")
    table = Table("part", "plan", "because", title=title, title_justify="left", title_style="bold")
    for part, what, path in _rows(plan):
        why = plan.why.get(path)
        reason = printable(why.reason) if why else ""
        table.add_row(printable(part), Text(printable(what), overflow="fold"), Text(reason, overflow="fold"))
    return table


def _rows(plan: HostPlan) -> Iterator[Row]:
    counted = Counter((gpu.name, gpu.target, gpu.use) for gpu in plan.gpus)
    for index, gpu in enumerate(plan.gpus):
        count = counted.pop((gpu.name, gpu.target, gpu.use), 0)
        if count:
            size = f"{gpu.memory_bytes / 2**30:g} GiB"
            yield "GPUs", f"{count} x {gpu.name} ({gpu.target}, {size}): {gpu.use}", f"gpus.{index}.use"
    yield "kernel", _kernel(plan), "kernel.flavour"
    for index, driver in enumerate(plan.drivers):
        yield "driver", _driver(driver), f"drivers.{index}.source"
        if driver.branch:
            yield "  branch", driver.branch, f"drivers.{index}.branch"
        yield "  modules", f"{driver.modules}, {driver.delivery}", f"drivers.{index}.modules"
    yield from _listed("firmware", plan.firmware.packages, "firmware.packages.0", plan.firmware.suite)
    yield from _listed("fabric", (*plan.fabric.packages, *plan.fabric.units), "fabric.packages.0")
    for index, runtime in enumerate(plan.runtimes):
        what = "\n".join((runtime.method, *runtime.packages))
        yield "GPUs in containers", what, f"runtimes.{index}.method"
    if plan.gpus:
        wires = plan.interconnect
        yield "interconnect", wires.fabric, "interconnect.fabric"
        yield "  IOMMU", wires.iommu, "interconnect.iommu"
        yield "  P2P", wires.p2p, "interconnect.p2p"
        yield from _listed("  ACS off", wires.acs_off, "interconnect.acs_off.0")
        variables = tuple(f"{name}={value}" for name, value in plan.collectives.variables)
        yield from _listed("collectives", variables, "collectives.variables.0.1")
        yield "persistence", "on" if plan.power.persistence else "off", "power.persistence"
        limits = tuple(f"{address} {watts} W" for address, watts in plan.power.limits_watts)
        yield from _listed("power limits", limits, "power.limits_watts.0.1")
        clocks = tuple(f"{address} at most {mhz} MHz" for address, mhz in plan.power.clocks_mhz)
        yield from _listed("clocks", clocks, "power.clocks_mhz.0.1")
        yield from _listed("held together", plan.holds.packages, "holds.packages.0")
    engine = tuple(package.name for package in plan.container_engine.packages)
    yield from _listed("container engine", engine, "container_engine.packages.0.name")
    for index, service in enumerate(plan.inference.services):
        what = f"{service.model} on {service.engine} ({service.variant}), port {service.port}"
        yield f"service {service.name}", what, f"inference.services.{index}.variant"


def _kernel(plan: HostPlan) -> str:
    kernel = plan.kernel
    words = [kernel.flavour, *kernel.packages]
    if kernel.suite:
        words.append(f"from {kernel.suite}")
    if kernel.config:
        words.append(f"with {', '.join(kernel.config)}")
    if kernel.arguments:
        words.append(f"booted with {' '.join(kernel.arguments)}")
    return "\n".join(words)


def _driver(driver: DriverPlan) -> str:
    words = [f"{driver.module} from {driver.source}", *driver.names]
    words += [f"option {option}" for option in driver.options]
    words += [f"not {module}" for module in driver.blacklist]
    return "\n".join(words)


def _listed(part: str, values: tuple[str, ...], path: str, suite: str = "") -> Iterator[Row]:
    if values:
        yield part, "\n".join((*values, f"from {suite}") if suite else values), path
