"""A host as the transfers see it: run a script, put bytes, say something; with the operation's own sudo."""

from __future__ import annotations

import io
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from paramiko import SSHException
from pyinfra.api import Host, State, StringCommand
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS

from gpuwright.errors import GpuwrightError
from gpuwright.plan.network import PROXY_ENV

_LOCK_WAIT_S = 60

Variables = Mapping[str, str | int]

# Every script that writes holds the store's lock. A command that outlives a killed run holds it as well, so
# that the next run waits for its end and then sees what it left.
_LOCKED = f"""
set -u
umask 022
mkdir -p "$store/.partial" "$store/.blobs"
if [ -r {PROXY_ENV} ]; then . {PROXY_ENV}; fi
exec 9>>"$store/.lock"
flock -w {_LOCK_WAIT_S} 9 || {{ echo "another run has been writing to $store for {_LOCK_WAIT_S} s"; exit 1; }}
"""


@dataclass(frozen=True)
class Answer:
    """What a script said: did it end with 0, its lines, and the last one as the reason of a failure."""

    ok: bool
    lines: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Remote:
    """A host with its model store, reached with the sudo that the running operation was given."""

    host: Host
    state: State
    store: str

    def run(self, script: str, variables: Variables, stdin: str = "", show: bool = False) -> Answer:
        """Run `script` under the store's lock with `variables` set, and `store`.

        `show` streams its output into pyinfra's. Raises GpuwrightError where the connection fails.
        """
        values: Variables = {"store": self.store, **variables}
        settings = "\n".join(f"{name}={shlex.quote(str(value))}" for name, value in values.items())
        arguments = {**self._arguments(), **({"_stdin": stdin} if stdin else {})}
        try:
            ok, output = self.host.run_shell_command(
                StringCommand(f"{settings}\n{_LOCKED}\n{script.strip()}"),
                print_output=show or self.state.print_output,
                print_input=self.state.print_input,
                **arguments,
            )
        except (TimeoutError, OSError, EOFError, SSHException) as error:
            raise self._lost(error) from error
        lines = tuple(output.stdout_lines)
        said = [line for line in (*output.stdout_lines, *output.stderr_lines) if line.strip()]
        return Answer(ok, lines, said[-1] if said else "it said nothing")

    def must(self, subject: str, script: str, variables: Variables, stdin: str = "") -> tuple[str, ...]:
        """Run `script` and give its lines. Raises GpuwrightError, about `subject`, where it fails."""
        answer = self.run(script, variables, stdin)
        if not answer.ok:
            raise GpuwrightError.of(
                subject,
                answer.reason,
                f"a store below {self.store} that root can write to",
                "Correct that on the host and run again",
            )
        return answer.lines

    def put(self, content: bytes, path: str) -> None:
        """Write `content` to `path` on the host. Raises GpuwrightError where the connection fails."""
        try:
            done = self.host.put_file(io.BytesIO(content), path, **self._arguments())
        except (TimeoutError, OSError, EOFError, SSHException) as error:
            raise self._lost(error) from error
        if not done:
            raise self._lost(OSError(f"{path} was not written"))

    def say(self, message: str) -> None:
        """One line of progress, in pyinfra's output."""
        self.host.log(message)

    def _arguments(self) -> Mapping[str, object]:
        # Read at call time and never kept: it holds the sudo password.
        given: Mapping[str, object] = dict(self.host.current_op_global_arguments or {})
        return {key: value for key, value in given.items() if key in CONNECTOR_ARGUMENT_KEYS}

    def _lost(self, error: Exception) -> GpuwrightError:
        return GpuwrightError.of(
            f"host {self.host.name}",
            f"the connection failed: {error or type(error).__name__}",
            "a connection that lasts for one transfer",
            "Run again: a transfer resumes where it stopped",
        )
