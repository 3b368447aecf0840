"""A process on a host that lasts as long as the run's own connection, because its stdin is that connection.

A killed run, a cut connection and a reboot all end it, so what it holds is let go without any cleaning up.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pyinfra.api.host import Host
from pyinfra.connectors.local import LocalConnector
from pyinfra.connectors.ssh import SSHConnector

from gpuwright.errors import GpuwrightError

ANSWER_TIMEOUT_S = 60  # sudo, and a host under load


class SupportsInput(Protocol):
    """The stdin of a process, here or on a host."""

    def write(self, text: str, /) -> object:
        """Send it, or keep it until `flush`."""

    def flush(self) -> object:
        """Send what was kept."""


@runtime_checkable
class StartsAttached(Protocol):
    """A connector with a way of its own, because its connections have no end that a process could notice."""

    def start_attached(self, line: str, stdin: str) -> Attached:
        """As `start`."""


@dataclass(frozen=True)
class Attached:
    """The running process: it ends when nobody refers to `handle` any more. Its outputs are read line by line."""

    handle: object
    stdout: Iterable[str]
    stderr: Iterable[str]


def start(host: Host, line: str, subject: str, stdin: str = "") -> Attached:
    """Start the shell command `line` and send it `stdin`, which then stays open.

    Raises GpuwrightError, about `subject`, where the host is reached in a way whose end it does not notice; else
    whatever paramiko or the operating system raises.
    """
    connector = host.connector
    if isinstance(connector, StartsAttached):
        return connector.start_attached(line, stdin)
    if isinstance(connector, SSHConnector) and connector.client is not None:
        to, stdout, stderr = connector.client.exec_command(line, timeout=ANSWER_TIMEOUT_S)
        _send(to, stdin)
        # paramiko closes a channel that nobody refers to
        return Attached((to, stdout, stderr), stdout, stderr)
    if isinstance(connector, LocalConnector):
        process = subprocess.Popen(
            ["sh", "-c", line],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        _send(process.stdin, stdin)
        return Attached(process, process.stdout, process.stderr)
    raise GpuwrightError.of(
        subject,
        f"is reached by {type(connector).__name__}",
        "SSH or @local, whose end the host notices",
        "Change the host in the inventory.",
    )


def _send(to: SupportsInput, text: str) -> None:
    try:
        to.write(text)
        to.flush()
    except OSError:
        pass  # it has ended already, and its outputs say why
