"""Scripts on the host from within a command that decides as it goes, with the operation's own sudo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from paramiko import SSHException
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host

from gpuwright.errors import GpuwrightError
from gpuwright.operations.shell import script


@dataclass(frozen=True)
class Answer:
    """What a script said: whether it ended with 0, its output, and both outputs in the order they came."""

    ok: bool
    lines: tuple[str, ...]
    said: tuple[str, ...]

    @property
    def last(self) -> str:
        """The last thing it said."""
        return self.said[-1] if self.said else "it said nothing"


class Shell(Protocol):
    """Root on a host, whoever opened the connection."""

    def run(self, text: str, *arguments: str, live: bool = False) -> Answer:
        """Run a POSIX sh script with $1, $2 ..., its output shown as it comes where it is `live`.

        Raises GpuwrightError where the connection fails.
        """

    def say(self, message: str) -> None:
        """One line of progress."""


@dataclass(frozen=True)
class RootShell:
    """The host of a FunctionCommand."""

    host: Host

    def run(self, text: str, *arguments: str, live: bool = False) -> Answer:
        """As Shell says."""
        given: Mapping[str, object] = dict(self.host.current_op_global_arguments or {})
        options = {key: value for key, value in given.items() if key in CONNECTOR_ARGUMENT_KEYS}
        try:
            ok, output = self.host.run_shell_command(
                script(text, *arguments), print_output=live or self.host.state.print_output, **options
            )
        except (TimeoutError, OSError, EOFError, SSHException, PyinfraError) as error:
            raise GpuwrightError.of(
                f"host {self.host.name}",
                f"the connection failed while a step ran: {error or type(error).__name__}",
                "a connection that lasts",
                "The step may still be running there; run again, which takes up what it left.",
            ) from error
        said = tuple(line.rstrip() for line in output.output_lines if line.strip())
        return Answer(ok, tuple(output.stdout_lines), said)

    def say(self, message: str) -> None:
        """One line of progress, in pyinfra's output."""
        self.host.log(message)
