"""pyinfra's connector over a shell that somebody else opened: Ansible's connection, and its become.

Ansible has made the commands root already, so nothing of pyinfra's own sudo is used here.
"""

from __future__ import annotations

import base64
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import IOBase
from typing import IO, Any, cast

from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.api.util import get_file_io
from pyinfra.connectors.base import BaseConnector
from pyinfra.connectors.util import CommandOutput, OutputLine, make_unix_command
from typing_extensions import override

from gpuwright.ansible.job import watched
from gpuwright.ansible.lease import Lease
from gpuwright.ansible.shell import Ran, Shell
from gpuwright.attached import Attached
from gpuwright.drift.commands import readable

# timeout(1): it stopped the command, or had to kill it.
_TIMED_OUT = (124, 137)
# Of a command's stdin, stdout and success these say how it runs here; the rest says as whom and where.
_ABOUT_RUNNING = ("_get_pty", "_stdin", "_success_exit_codes", "_timeout")

# What pyinfra's get_file_io calls the same.
_File = str | IO[Any]
# pyinfra leaves this without annotations.
_make_unix_command = cast(Callable[..., StringCommand], make_unix_command)


@dataclass(frozen=True)
class Failed:
    """The last command, which did not succeed, as people may read it."""

    command: str
    code: int
    said: str


class AnsibleConnector(BaseConnector):
    """One host behind a `Shell`; made by `gpuwright.ansible.session`."""

    handles_execution = True

    def __init__(self, state: State, host: Host, shell: Shell) -> None:
        super().__init__(state, host)
        self.failed: Failed | None = None
        self._shell = shell
        self._lease: Lease | None = None

    @override
    @staticmethod
    def make_names_data(name: str | None) -> Iterator[tuple[str, dict[str, object], list[str]]]:
        yield str(name), {}, []

    @override
    def run_shell_command(
        self,
        command: StringCommand,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: object,
    ) -> tuple[bool, CommandOutput]:
        self.failed = None
        running = {key: arguments.pop(key, None) for key in _ABOUT_RUNNING}
        raw = _make_unix_command(command, **arguments).get_raw_value()
        timeout = cast(int | None, running["_timeout"])
        if timeout:
            raw = f"timeout -k 5 {timeout} {raw}"
        stdin = _stdin_bytes(running["_stdin"])
        if print_output and self._lease is not None:  # it has something to say while it runs
            ran = watched(self._shell, self._lease, raw, stdin, self.host.log)
        else:
            ran = self._run(raw, stdin)
        if timeout and ran.code in _TIMED_OUT:
            raise TimeoutError(f"a command did not finish within {timeout} s")
        succeeded = ran.code in cast(list[int], running["_success_exit_codes"] or [0])
        if not succeeded:
            said = [line for line in (ran.stderr or ran.stdout).splitlines() if line.strip()]
            shown = readable(command if isinstance(command, StringCommand) else StringCommand(command))
            self.failed = Failed(shown, ran.code, "\n".join(said[-20:]))
        return succeeded, output_of(ran)

    @override
    def put_file(
        self,
        filename_or_io: str | IOBase,
        remote_filename: str,
        remote_temp_filename: str | None = None,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: object,
    ) -> bool:
        with get_file_io(cast(_File, filename_or_io)) as file:
            content = file.read()
        content = content.encode() if isinstance(content, str) else content
        words = ("cat >" if content else ": >", shlex.quote(remote_filename))
        ran = self._run(_make_unix_command(StringCommand("".join(words))).get_raw_value(), content)
        self.failed = None
        if ran.code != 0:
            self.failed = Failed(f"upload {remote_filename}", ran.code, ran.stderr.strip())
        return ran.code == 0

    @override
    def get_file(
        self,
        remote_filename: str,
        filename_or_io: str | IOBase,
        remote_temp_filename: str | None = None,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: object,
    ) -> bool:
        ran = self._run(StringCommand("base64", QuoteString(remote_filename)).get_raw_value(), b"")
        if ran.code != 0:
            raise OSError(ran.stderr.strip() or f"{remote_filename} could not be read")
        with get_file_io(cast(_File, filename_or_io), "wb") as file:
            file.write(base64.b64decode(ran.stdout))
        return True

    def start_attached(self, line: str, stdin: str) -> Attached:
        """A process on the host that ends with this task: Ansible's connections have no end that it could notice."""
        self._lease = Lease.start(self._shell, line, stdin)
        return self._lease.process

    @override
    def disconnect(self) -> None:
        if self._lease is not None:
            self._lease.end()
            self._lease = None

    def _run(self, raw: str, stdin: bytes) -> Ran:
        return self._shell.run(self._lease.renewing(raw) if self._lease else raw, stdin)


def output_of(ran: Ran) -> CommandOutput:
    """Both outputs as pyinfra's own connectors give them."""
    return CommandOutput(
        [OutputLine("stdout", line) for line in _lines(ran.stdout)]
        + [OutputLine("stderr", line) for line in _lines(ran.stderr)]
    )


def _lines(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []


def _stdin_bytes(stdin: object) -> bytes:
    """pyinfra's `_stdin`, which is text or a list of lines, each ended by a line break."""
    if not stdin:
        return b""
    lines = stdin if isinstance(stdin, list | tuple) else [stdin]
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in map(str, lines)).encode()
