"""The command `size`, for the command line to register."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command()(size)


def size(
    model: Annotated[
        str,
        typer.Argument(
            help="A name (llama-3-70b; --list shows all), ORG/NAME or ORG/NAME:FILE.gguf of a hub, a GGUF file, "
            "a config.json, or what --record wrote."
        ),
    ] = "",
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on", metavar="MACHINE", help='2x4090, "8xH200 SXM", a facts file or a host; repeatable.'
        ),
    ] = None,
    fleet: Annotated[
        Path | None, typer.Option("--fleet", metavar="INVENTORY", help="All hosts of it, the best first.")
    ] = None,
    quant: Annotated[
        str | None,
        typer.Option("--quant", help="q8_0, q4_k_m, ..., bf16, fp8, w8a8, awq; else as published."),
    ] = None,
    engine: Annotated[
        Literal["llama_cpp", "vllm"] | None,
        typer.Option("--engine", help="Else the one that reads the format."),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option("--context", min=1, help="Tokens of each user; else 8192, or what the model knows."),
    ] = None,
    users: Annotated[int, typer.Option("--users", min=1, help="Served at the same time.")] = 1,
    kv_type: Annotated[
        Literal["f16", "q8_0", "q4_0", "fp8"], typer.Option("--kv-type", help="Of the key-value cache.")
    ] = "f16",
    price: Annotated[
        float | None, typer.Option("--price", min=0, help="US dollars a card, instead of the catalogue's.")
    ] = None,
    years: Annotated[float, typer.Option("--years", min=0.1, help="A card is written off in.")] = 3.0,
    kwh: Annotated[float, typer.Option("--kwh", min=0, help="US dollars a kilowatt-hour.")] = 0.30,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    record: Annotated[
        Path | None,
        typer.Option(
            "--record", metavar="FILE", help="Of a hub's model: keep its facts, inventories/models/x.json."
        ),
    ] = None,
    names: Annotated[bool, typer.Option("--list", help="The models that have a name here.")] = False,
) -> None:
    """Will a model fit, with every term; tokens per second and cost. Without a machine: the fewest cards of each kind.

    Exit code 0: it fits at least one machine; 2: it fits none; 1: it could not be judged.

    PASS fits with a margin, TIGHT is within the error of the estimate, NO does not fit.
    """
    from gpuwright.plan.sizing.cost import Rates
    from gpuwright.sizing import command

    if names:
        raise typer.Exit(command.show_names())
    if not model:
        raise typer.BadParameter("which model? --list shows those that have a name", param_hint="MODEL")
    wish = command.Wish(model, tuple(on or ()), fleet, quant, engine, context, users, kv_type, record)
    raise typer.Exit(command.show(wish, Rates(price, years, kwh), as_json))
