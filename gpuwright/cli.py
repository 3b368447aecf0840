"""The command line: every failure a sentence, never a traceback."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console

from gpuwright import ask as asking
from gpuwright import stamp, status_view
from gpuwright import status as statuses
from gpuwright.connection import connect
from gpuwright.errors import GpuwrightError
from gpuwright.inventory import find_host
from gpuwright.sandbox.cli import app as sandbox_app

WRONG_USAGE = 64
INTERRUPTED = 130
# typer brings its own copy of click or uses the installed one, by version; its exception tells which.
_UsageError = cast(type[Exception], typer.BadParameter.__bases__[0])

Host = Annotated[str, typer.Argument(help="A host of the inventory, or @local.")]
InventoryPath = Annotated[
    Path | None, typer.Option("--inventory", help="Default: the file in inventories/ that has the host.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

app = typer.Typer(
    name="gpuwright",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From a bare Ubuntu or Debian host with GPUs to a model that answers.",
)
app.add_typer(sandbox_app, name="sandbox")


@app.callback()
def _root() -> None:
    """Keep subcommands even while there is only one."""


@app.command()
def ask(
    host: Host,
    prompt: Annotated[str, typer.Argument(help="The question.")],
    inventory: InventoryPath = None,
    service: Annotated[str | None, typer.Option(help="Needed where the host runs several.")] = None,
    system: Annotated[str, typer.Option(help="A system prompt.")] = "You are a helpful assistant.",
    max_tokens: Annotated[int, typer.Option(min=1, help="Stop the answer there.")] = 1024,
    temperature: Annotated[float, typer.Option(min=0, help="0: always the likeliest token.")] = 0,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for the whole answer.")] = 300,
    as_json: Json = False,
) -> None:
    """Ask a model that runs on a host; the answer alone goes to stdout."""
    question = asking.Question(prompt, system, max_tokens, temperature, timeout)
    pieces: list[str] = []

    def show(text: str) -> None:
        pieces.append(text)
        _write("" if as_json else text)

    try:
        with connect(find_host(host, inventory)) as connection:
            chosen = asking.choose(stamp.read(connection), host, service)
            answer = asking.ask(connection, chosen, question, show)
    finally:  # what follows, an error too, starts on a line of its own
        if pieces and not as_json and not pieces[-1].endswith("\n"):
            _write("\n")
    if as_json:
        _write(json.dumps(asdict(answer), ensure_ascii=False) + "\n")
        return
    rate = "" if answer.tokens_per_second is None else f", {answer.tokens_per_second:g} tokens/s"
    about = f"{answer.model} ({answer.service} on {host}): first token after {answer.first_token_s:.2f} s"
    line = f"{about}, {answer.total_s:.2f} s in all{rate}"
    _stderr().print(line, style="dim", highlight=False, markup=False, soft_wrap=True)


@app.command()
def status(host: Host, inventory: InventoryPath = None, as_json: Json = False) -> None:
    """Show what runs on a host. Exit code 0: all that is declared; 2: something differs; 1: cannot say."""
    with connect(find_host(host, inventory)) as connection:
        found = statuses.read(connection)
    if as_json:
        _write(json.dumps(status_view.to_json(found), ensure_ascii=False) + "\n")
    else:
        Console().print(status_view.render(found))
    raise typer.Exit(found.exit_code)


def main() -> None:
    """Entry point of the console script."""
    try:
        code = app(standalone_mode=False)
    except GpuwrightError as error:
        _stderr().print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        code = 1
    except _UsageError as error:
        cast(typer.BadParameter, error).show()
        code = WRONG_USAGE
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    sys.exit(code if isinstance(code, int) else 0)


def _write(text: str) -> None:
    """To stdout as it is: rich would wrap an answer at the terminal's width."""
    sys.stdout.write(text)
    sys.stdout.flush()


def _stderr() -> Console:
    return Console(stderr=True)
