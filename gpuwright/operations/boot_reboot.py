"""A reboot that the run survives: the connection ends, comes back, and the run lock is taken again."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol, runtime_checkable

from paramiko import SSHException
from pyinfra.api.command import FunctionCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.util import clear_askpass_cache

from gpuwright.errors import GpuwrightError
from gpuwright.operations import run_lock
from gpuwright.operations.boot_facts import Booted, parse_running
from gpuwright.operations.root_shell import RootShell
from gpuwright.operations.shell import script

# Servers with much memory and many cards take a quarter of an hour in their firmware, and a trial that panics boots
# twice.
BACK_S = 2400
# How long units may take to start, or fail, before the boot is judged without them.
SETTLED_S = 600
_LOOK_S = 5
_SAY_S = 60
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@runtime_checkable
class Reconnects(Protocol):
    """A connector, not of pyinfra's own, that can connect again to a host that rebooted."""

    def reconnect(self) -> None:
        """Raises OSError or SSHException while nobody answers."""


def can_follow(host: Host, running: Booted) -> bool:
    """Whether this process survives the reboot of `host`, and its connection can be made again."""
    here = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
    return running.boot_id != here and isinstance(host.connector, SSHConnector | Reconnects)


def reboot(shell: RootShell, running: Booted, why: str) -> Booted:
    """Reboot; gives what runs then, once its units have started or failed.

    Raises GpuwrightError where the host does not come back, or another run took it.
    """
    host = shell.host
    # Detached and a little later: sshd ends this connection's session in between.
    began = shell.run("(sleep 2; systemctl reboot) </dev/null >/dev/null 2>&1 & echo begun")
    if not began.ok:
        raise GpuwrightError.of(
            f"host {host.name}", f"it does not reboot ({began.last})", "systemctl", "Reboot it and run again."
        )
    shell.say(f"reboots: {why}")
    locked = host in run_lock._held
    run_lock._held.pop(host, None)
    clear_askpass_cache(host)
    host.disconnect()
    now = _back(shell, running.boot_id, why)
    if locked:
        _lock_again(host)
    _wait_settled(shell)
    return now


def _back(shell: RootShell, boot_id: str, why: str) -> Booted:
    of_paramiko = logging.getLogger("paramiko")
    if not of_paramiko.handlers:  # else it prints a traceback for each look at a host that still boots
        of_paramiko.addHandler(logging.NullHandler())
    began = said = time.monotonic()
    while time.monotonic() - began < BACK_S:
        time.sleep(_LOOK_S)
        now = _answer(shell.host)
        if now is not None and now.boot_id != boot_id:
            shell.say(f"is back after {time.monotonic() - began:.0f} s, with {now.release}")
            return now
        if time.monotonic() - said > _SAY_S:
            said = time.monotonic()
            shell.say(f"has not come back after {said - began:.0f} s")
    raise GpuwrightError.of(
        f"host {shell.host.name}",
        f"it did not come back within {BACK_S // 60} minutes of a reboot ({why})",
        "a host that boots",
        "Look at its console. Switch it off and on where it hangs: what boots by default is what ran before. "
        "Then run again, which finds out what happened.",
    )


def _answer(host: Host) -> Booted | None:
    """What runs on the host; None while nobody answers."""
    connector = host.connector
    try:
        if isinstance(connector, SSHConnector):
            if connector.client is not None:
                connector.client.close()
            connector.connect()  # not host.connect: that reports an unreachable host each time
        elif isinstance(connector, Reconnects):
            connector.reconnect()
        host.connected = True
        asked = script("uname -r && cat /proc/cmdline /proc/sys/kernel/random/boot_id")
        ok, output = host.run_shell_command(asked, _timeout=30)
        return parse_running(list(output.stdout_lines)) if ok else None
    except (PyinfraError, SSHException, EOFError, OSError, ValueError):
        return None


def _lock_again(host: Host) -> None:
    """The lock went with the connection. Raises GpuwrightError where another run has it now."""
    for command in run_lock.held._inner():
        assert isinstance(command, FunctionCommand)
        (refusals,) = command.args
        raise GpuwrightError(*refusals)


def _wait_settled(shell: RootShell) -> None:
    deadline = time.monotonic() + SETTLED_S
    while time.monotonic() < deadline:
        with suppress(GpuwrightError):
            says = shell.run("systemctl is-system-running").lines
            if says and says[0] not in ("initializing", "starting"):
                return
        time.sleep(_LOOK_S)
    shell.say(f"is still starting units after {SETTLED_S // 60} minutes; it is judged by those that failed")
