"""Drift for people: a line for each host that is as declared, a table and diffs for the others."""

from __future__ import annotations

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from gpuwright.drift.model import FleetDrift, HostDrift, OperationDrift

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}
_WORDS = {
    "as_declared": ("as declared", "green"),
    "differs": ("differs", "red"),
    "could_not_judge": ("could not be judged", "yellow"),
}


def show(drift: FleetDrift, console: Console) -> None:
    """Print every host in order, and at the end those that could not be judged, with the reasons."""
    for part in _parts(drift):
        # A line of a diff or of a reason stays one line, to be found and copied.
        console.print(part, soft_wrap=isinstance(part, Text), highlight=False)


def _parts(drift: FleetDrift) -> list[RenderableType]:
    width = max(len(host.host) for host in drift.hosts)
    parts = [part for host in drift.hosts for part in _host(host, width)]
    unjudged = [host for host in drift.hosts if host.status == "could_not_judge"]
    if unjudged:
        parts += [Text(), Text("Could not be judged:", style="bold yellow")]
        parts += [Text(f"  {host.host}  {reason}") for host in unjudged for reason in host.reasons]
    return parts


def _host(host: HostDrift, width: int) -> list[RenderableType]:
    word, colour = _WORDS[host.status]
    count = f"  ({len(host.operations)} operations)" if host.status == "as_declared" else ""
    line = Text.assemble((f"{host.host:<{width}}", "bold"), "  ", (word, colour), count)
    shown = [each for each in host.operations if each.status != "ok" or each.details]
    if not shown:
        return [line]
    table = Table("operation", "a run would")
    for each in shown:
        table.add_row(Text(each.name), Text("\n".join(_what(each))))
    diffs = [diff.diff for each in shown for diff in each.diffs]
    return [line, table, *(_coloured(diff) for diff in diffs)]


def _what(operation: OperationDrift) -> tuple[str, ...]:
    if operation.status == "unknown":
        return (*operation.details, "not known, see below")
    return operation.summary


def _coloured(diff: str) -> Text:
    lines = [Text(line, style=_COLOURS.get(line[:1], "")) for line in diff.splitlines()]
    return Text("\n").join([*lines, Text()])
