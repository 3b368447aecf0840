"""`gpuwright sandbox`: throw-away hosts on this machine to try roles on."""

from __future__ import annotations

import os
import signal
import sys
from enum import StrEnum
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gpuwright.paths import state_dir
from gpuwright.sandbox import hosts, lifecycle, ssh, state, vm
from gpuwright.sandbox.engine import connect

app = typer.Typer()
console = Console()


class OsName(StrEnum):
    """Releases that a sandbox host can run."""

    DEBIAN12 = "debian12"
    DEBIAN13 = "debian13"


HostName = Annotated[str, typer.Argument(metavar="HOST", help="A name that `gpuwright sandbox list` shows.")]


@app.command()
def up(
    hosts_wanted: Annotated[
        int, typer.Option("--hosts", min=1, max=16, help="How many hosts there should be.")
    ] = 1,
    os_names: Annotated[
        list[OsName] | None,
        typer.Option(
            "--os", help="Release; give it several times to cycle over the hosts. [default: debian13]"
        ),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            "--image",
            help="Start new hosts from this image, a `docker commit` of a host of the same release.",
            show_default="the release's base image",
        ),
    ] = None,
    as_vm: Annotated[
        bool,
        typer.Option("--vm", help="Virtual machines instead of containers: own kernel, own boot; slower."),
    ] = False,
) -> None:
    """Make hosts sbx1, sbx2, ... and a llama.cpp image for them; what exists already stays as it is.

    The first call builds a base image from Debian packages (about a minute), later ones take seconds. With
    several hosts the last one's sudo asks for a password, which inventories/sandbox.py knows.

    Then: pyinfra inventories/sandbox.py deploy.py
    """
    signal.signal(signal.SIGTERM, _terminated)
    releases = [str(each) for each in os_names or [OsName.DEBIAN13]]
    if as_vm and image is not None:
        raise typer.BadParameter(
            "an image is for containers; leave out --image or --vm", param_hint="--image"
        )
    with console.status("looking at what is there") as status:

        def progress(text: str) -> None:
            status.update(text + " ...")

        if as_vm:
            changed = vm.up(state_dir(), hosts_wanted, releases, progress)
        else:
            changed = lifecycle.up(connect(), state_dir(), hosts_wanted, releases, progress, image)
        found = _rows()
    _show(found)
    console.print(
        f"Started: {', '.join(changed)}." if changed else f"All {len(found)} hosts were up already."
    )


@app.command()
def down(
    images: Annotated[bool, typer.Option("--images", help="Also remove the cached images.")] = False,
) -> None:
    """Remove hosts, volumes, keys and state, also what an interrupted `up` left behind."""
    with console.status("removing hosts ..."):
        directory = state_dir()
        if (directory / "vm").exists():  # not what the state says: it may be unreadable
            removed = vm.down(directory, images)
        else:
            removed = lifecycle.down(connect(), directory, images)
    console.print(f"Removed: {', '.join(removed)}." if removed else "There was no host.")


@app.command("list")
def list_hosts() -> None:
    """Show the hosts, where their sshd listens, and what systemd says."""
    found = _rows()
    if found:
        _show(found)
    else:
        console.print("No hosts. `gpuwright sandbox up` makes one.")


@app.command()
def restart(
    host: Annotated[str | None, typer.Argument(metavar="[HOST]", help="One host; all when left out.")] = None,
) -> None:
    """Reboot: services stop in order and boot again; returns when systemd and sshd are up."""
    names = [host] if host else [record.name for record in state.load(state_dir()).hosts]
    with console.status(f"rebooting {', '.join(names)} ..."):
        if _are_vms():
            vm.restart(state_dir(), names)
        else:
            lifecycle.restart(connect(), state_dir(), names)
    console.print(f"Rebooted: {', '.join(names) or 'no hosts'}.")


@app.command("ssh")
def open_ssh(
    host: HostName,
    command: Annotated[
        list[str] | None, typer.Argument(help="After `--`: a command instead of a shell.")
    ] = None,
) -> None:
    """Log in as `ops`, or run one command: gpuwright sandbox ssh sbx1 -- systemctl status docker"""
    call = ssh.command(state.load(state_dir()).host(host), command or [])
    os.execvp(call[0], call)


@app.command()
def logs(
    host: HostName,
    lines: Annotated[int, typer.Option("-n", "--lines", help="How many lines, newest last.")] = 100,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Keep showing new lines.")] = False,
    unit: Annotated[str | None, typer.Option("-u", "--unit", help="Only this unit.")] = None,
) -> None:
    """The host's journal. It needs no SSH, so it also works where sshd is what is broken.

    Of a VM it is the serial console, where its kernel speaks; its journal with -f or -u, which need SSH.
    """
    directory = state_dir()
    record = state.load(directory).host(host)
    command = ["journalctl", "--no-pager", "-n", str(lines), *(["-u", unit] if unit else [])]
    a_vm = record.machine == state.VM
    if follow or (a_vm and unit):  # through ssh: it ends together with this process
        call = ssh.command(record, [*command, *(["-f"] if follow else [])])
        os.execvp(call[0], call)
    if a_vm:
        console.print(
            vm.console(directory, host, lines), markup=False, highlight=False, soft_wrap=True, end=""
        )
        return
    text = hosts.execute(hosts.require(connect(), state.label(directory), host), command)
    console.print(text, markup=False, highlight=False, soft_wrap=True, end="")


def _terminated(signal_number: int, _frame: FrameType | None) -> None:
    """Leave through exceptions, so that an unfinished build is cleaned away."""
    sys.exit(128 + signal_number)


def _are_vms() -> bool:
    return any(host.machine == state.VM for host in state.load(state_dir()).hosts)


def _rows() -> list[lifecycle.Row]:
    if _are_vms():
        return vm.rows(state_dir())
    return lifecycle.rows(connect(), state_dir())


def _show(found: list[lifecycle.Row]) -> None:
    """The hosts as a table."""
    table = Table("host", "os", "ssh", "sudo", "systemd")
    for row in found:
        sudo = "asks for a password" if row.host.sudo_password is not None else "no password"
        colour = "green" if row.state == "running" else "yellow"
        words = " ".join([row.state, *row.failed])
        where = f"{row.host.user}@{row.host.address}:{row.host.port}"
        table.add_row(row.host.name, row.host.os, where, sudo, f"[{colour}]{words}[/]")
    console.print(table)
