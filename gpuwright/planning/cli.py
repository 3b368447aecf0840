"""The commands `facts`, `plan`, `explain` and `record`, for the command line to register."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpuwright.overrides import parse_data

TARGET_HELP = (
    "A facts file, a machine's directory (facts.json, machine.toml), an inventory file, or a host's name."
)
Targets = Annotated[list[str], typer.Argument(metavar="TARGET", help=TARGET_HELP)]
Target = Annotated[str, typer.Argument(metavar="TARGET", help=TARGET_HELP)]
InventoryPath = Annotated[
    Path | None, typer.Option("--inventory", help="Default: the file in inventories/ that has the host.")
]
Limit = Annotated[
    list[str] | None, typer.Option("--limit", metavar="HOST", help="Of an inventory, only this; repeatable.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting, JSON or text, over the target's own."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`, in the order in which they are used."""
    for command in (facts, plan, explain, record):
        app.command()(command)


def facts(
    target: Targets,
    inventory: InventoryPath = None,
    limit: Limit = None,
    raw: Annotated[bool, typer.Option("--raw", help="Keep serial numbers and hardware addresses.")] = False,
    as_json: Json = False,
) -> None:
    """Show what a host is; with --json a facts file that `plan` reads. Exit code 1: one could not be read."""
    from gpuwright.planning import command

    raise typer.Exit(command.show_facts(target, inventory, tuple(limit or ()), raw, as_json))


def plan(
    target: Targets,
    inventory: InventoryPath = None,
    limit: Limit = None,
    settings: Settings = None,
    diff: Annotated[bool, typer.Option("--diff", help="Of two targets: where they differ, and why.")] = False,
    as_json: Json = False,
) -> None:
    """Show what hosts would get; changes nothing. Exit code 0: planned; 1: refused; with --diff, 2: they differ."""
    from gpuwright.planning import command

    overrides = _overrides(settings)
    if diff:
        raise typer.Exit(command.show_difference(target, inventory, overrides, as_json))
    raise typer.Exit(command.show_plans(target, inventory, tuple(limit or ()), overrides, as_json))


def explain(
    target: Target,
    path: Annotated[str, typer.Argument(metavar="[PATH]", help="Only this value or slice: drivers.0.")] = "",
    inventory: InventoryPath = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Show the reason and the source of every value of a host's plan."""
    from gpuwright.planning import command

    raise typer.Exit(command.show_reasons(target, path, inventory, _overrides(settings), as_json))


def record(
    host: Annotated[str, typer.Argument(help="A host of the inventory, or @local.")],
    directory: Annotated[Path, typer.Argument(help="The machine's: tests/fleet/NAME; made where it is not.")],
    inventory: InventoryPath = None,
    after: Annotated[
        bool, typer.Option("--after", help="The host was deployed: facts_after.json, recording_after.json.")
    ] = False,
) -> None:
    """Record a host's facts and its answers to a dry run, so that both can be replayed without it."""
    from gpuwright.planning import recorder

    written, reasons = recorder.record(host, directory, inventory, after)
    for path in written:
        typer.echo(path)
    for reason in reasons:
        typer.echo(f"A dry run cannot judge all of it: {reason}", err=True)


def _overrides(settings: list[str] | None) -> dict[str, object]:
    try:
        return parse_data(settings or ())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--set") from error
