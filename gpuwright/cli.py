"""The command line: every failure a sentence, never a traceback.

What talks to hosts is imported by the commands that do: `plan` and `explain` of recorded facts need none of it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, cast

import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command
from typing_extensions import override

from gpuwright.errors import GpuwrightError
from gpuwright.overrides import parse_data
from gpuwright.planning import cli as planning
from gpuwright.sizing import cli as sizing

WRONG_USAGE = 64
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


class _Sandbox(TyperGroup):
    """The commands of `gpuwright sandbox`, imported when one is asked for: the Docker SDK brings paramiko along."""

    @override
    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return _sandbox_group().list_commands(ctx)

    @override
    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand | None:  # type: ignore[override]
        return cast(TyperCommand | None, _sandbox_group().get_command(ctx, cmd_name))


app.add_typer(
    typer.Typer(
        cls=_Sandbox,
        no_args_is_help=True,
        help="Throw-away Debian hosts on this machine: systemd, sshd, a user `ops` with sudo, apt.",
    ),
    name="sandbox",
)


class _Kernel(TyperGroup):
    """The commands of `gpuwright kernel`, imported when one is asked for, as the sandbox's."""

    @override
    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return _kernel_group().list_commands(ctx)

    @override
    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand | None:  # type: ignore[override]
        return cast(TyperCommand | None, _kernel_group().get_command(ctx, cmd_name))


app.add_typer(
    typer.Typer(
        cls=_Kernel,
        no_args_is_help=True,
        help="Kernels with P2PDMA that no package has, from the distribution's own source.",
    ),
    name="kernel",
)


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
    from gpuwright import ask as asking
    from gpuwright import stamp
    from gpuwright.connection import connect
    from gpuwright.inventory import find_host

    _unattended()
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
    from gpuwright import status as statuses
    from gpuwright import status_view
    from gpuwright.connection import connect
    from gpuwright.inventory import find_host

    _unattended()
    with connect(find_host(host, inventory)) as connection:
        found = statuses.read(connection)
    if as_json:
        _write(json.dumps(status_view.to_json(found), ensure_ascii=False) + "\n")
    else:
        Console().print(status_view.render(found))
    raise typer.Exit(found.exit_code)


@app.command()
def verify(
    inventory: Annotated[Path, typer.Argument(help="An inventory file: inventories/lab.py.")],
    limit: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="Only this host; repeatable.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Hosts at the same time.")] = 8,
    fast: Annotated[bool, typer.Option("--fast", help="Leave model files unread: then unknown.")] = False,
    junitxml: Annotated[Path | None, typer.Option(metavar="PATH", help="Write JUnit XML there too.")] = None,
    as_json: Json = False,
) -> None:
    """Judge hosts against their declaration. Exit code 0: as declared; 2: differs; 1: could not judge."""
    from gpuwright.verify import command as verifying

    _unattended()
    raise typer.Exit(verifying.run(inventory, tuple(limit or ()), jobs, fast, junitxml, as_json))


@app.command()
def drift(
    inventory: Annotated[Path, typer.Argument(help="An inventory file: inventories/lab.py.")],
    limit: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="Only this host; repeatable.")
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Override host data, as pyinfra does.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Hosts at the same time.")] = 8,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for each host.")] = 120,
    junitxml: Annotated[Path | None, typer.Option(metavar="PATH", help="Write JUnit XML there too.")] = None,
    as_json: Json = False,
) -> None:
    """Show what a run would change. Exit code 0: nothing; 2: something; 1: a host could not be judged."""
    from gpuwright.drift import command as drifting

    _unattended()
    try:
        overrides = parse_data(data or ())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--data") from error
    raise typer.Exit(drifting.run(inventory, tuple(limit or ()), overrides, jobs, timeout, junitxml, as_json))


@app.command()
def lock(
    host: Host,
    inventory: InventoryPath = None,
    update: Annotated[
        bool, typer.Option("--update", help="Lock what the archive has now; the next deploy brings it about.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the exact versions of kernel and driver that are locked for a host, and what the archive has.

    They are in inventories/locks/HOST.json, written by a deploy, reviewed in git. A newer version is news, not drift.
    """
    from gpuwright import lock_command
    from gpuwright.inventory import find_host

    _unattended()
    entry = find_host(host, inventory)
    rows = lock_command.update(entry) if update else lock_command.show(entry)
    if as_json:
        _write(json.dumps([asdict(row) for row in rows]) + "\n")
        return
    title = (
        ("Newly locked; deploy to bring it about" if rows else "Nothing newer")
        if update
        else f"Locked on {host}"
    )
    Console().print(lock_command.render(rows, title))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def rollback(context: typer.Context, host: Host, inventory: InventoryPath = None) -> None:
    """Go back to the versions before the last change of kernel or driver, and deploy them.

    Further words go to pyinfra: gpuwright rollback gpu1 -y --data maintenance=true
    """
    from gpuwright import lock_command
    from gpuwright.inventory import find_host

    _unattended()
    raise typer.Exit(lock_command.rollback(find_host(host, inventory), tuple(context.args)))


planning.register(app)
sizing.register(app)


def run() -> int:
    """Do what the process's arguments say; gives the exit code."""
    try:
        code = app(standalone_mode=False)
    except GpuwrightError as error:
        _stderr().print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    except _UsageError as error:
        cast(typer.BadParameter, error).show()
        return WRONG_USAGE
    except typer.Abort as error:  # what typer makes of Ctrl-C
        raise KeyboardInterrupt from error
    return code if isinstance(code, int) else 0


def _write(text: str) -> None:
    """To stdout as it is: rich would wrap an answer at the terminal's width."""
    sys.stdout.write(text)
    sys.stdout.flush()


def _sandbox_group() -> TyperGroup:
    from gpuwright.sandbox.cli import app as sandbox

    return cast(TyperGroup, get_command(sandbox))


def _kernel_group() -> TyperGroup:
    from gpuwright.kernel_build.cli import app as kernel

    return cast(TyperGroup, get_command(kernel))


def _unattended() -> None:
    from gpuwright.unattended import never_prompt_without_a_terminal

    never_prompt_without_a_terminal()


def _stderr() -> Console:
    return Console(stderr=True)
