"""Commands on one host, over the very connection that a deploy would use.

pyinfra's connector opens it, so keys, known_hosts, ProxyJump, the sudo password and `@local` agree.
"""

from __future__ import annotations

import secrets
import shlex
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace

from paramiko import SSHException, Transport
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.connectors.local import LocalConnector

from gpuwright import tunnel
from gpuwright.errors import GpuwrightError
from gpuwright.inventory import HostEntry
from gpuwright.session import opened, transport_of

# Over the host's own timeout(1): when that does not answer either, the network is gone.
GRACE_S = 10
# timeout(1) stopped the command, or had to kill it.
TIMED_OUT = (124, 137)

# How a host's data says that commands become root; pyinfra reads the same names.
_ELEVATION = (
    *("_sudo_user", "_use_sudo_login", "_su_user", "_su_password", "_use_su_login", "_su_shell"),
    *("_doas", "_doas_user", "_dzdo", "_dzdo_user"),
)


@dataclass(frozen=True)
class Result:
    """What a command gave: its exit code and both outputs, without a last line break."""

    code: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        """Whether the exit code is 0."""
        return self.code == 0


@contextmanager
def connect(entry: HostEntry) -> Iterator[Connection]:
    """Open `entry`'s host and close it afterwards; GpuwrightError says why a host cannot be reached."""
    with ExitStack() as stack:
        try:
            host = stack.enter_context(opened(entry))
        except GpuwrightError as error:
            (refusal,) = error.refusals
            observed = f"cannot be reached ({refusal.subject}: {refusal.observed})"
            raise GpuwrightError(replace(refusal, subject=f"host {entry.name}", observed=observed)) from error
        yield Connection(entry, host)


class Connection:
    """An open host; made by `connect`."""

    def __init__(self, entry: HostEntry, host: Host) -> None:
        self.name = entry.name
        self._host = host
        self._elevation = {key: entry.data[key] for key in _ELEVATION if entry.data.get(key)}
        password = entry.data.get("_sudo_password")
        if password:
            self._elevation["_sudo_password"] = password
        if password or "_sudo_user" in self._elevation:
            self._elevation["_sudo"] = True
        self._plain = entry.data.get("_sudo") is False and not self._elevation

    def run(self, command: str, *, sudo: bool = True, timeout: int | None = None) -> Result:
        """Run a POSIX sh command, as root unless `sudo` is false, for at most `timeout` seconds.

        A failing command is a Result; GpuwrightError when it could not run, was cut off or took too long.
        """
        marker = f"gpuwright-{secrets.token_hex(8)}"
        limited = f"sh -c {shlex.quote(command)}"
        if timeout is not None:
            limited = f"timeout -k 5 {timeout} {limited}"
        # Only the marked last line proves that the command ran, and that all its output is here.
        framed = f"{limited}; printf '\\n{marker} %d\\n' \"$?\""
        text, stderr = self._execute(framed, sudo and not self._plain, timeout)
        stdout, found, code = text.rpartition(f"\n{marker} ")
        if not found:
            raise self._not_run(stderr or text)
        if timeout is not None and int(code) in TIMED_OUT:
            raise self._too_slow(timeout)
        return Result(int(code), stdout.removesuffix("\n"), stderr)

    def tunnel(self, port: int) -> AbstractContextManager[int]:
        """A local port that leads to 127.0.0.1:`port` on the host (on `@local` that port itself).

        `tunnel.PortRefused` when nothing listens there; GpuwrightError where no tunnel is possible.
        """
        if isinstance(self._host.connector, LocalConnector):
            tunnel.check_local(port)
            return nullcontext(port)
        transport = transport_of(self._host)
        if transport is None:
            connector = type(self._host.connector).__name__
            raise GpuwrightError.of(
                f"host {self.name}",
                f"is reached by {connector}",
                "SSH or @local",
                "Ask from the host itself.",
            )
        return tunnel.forward(transport, self.name, port)

    def _execute(self, framed: str, sudo: bool, timeout: int | None) -> tuple[str, str]:
        """Both outputs of `framed`, as root or as the user that SSH logged in."""
        if not sudo:
            return self._shell(framed, timeout)
        if self._elevation:
            return self._shell(framed, timeout, **self._elevation)
        quoted = shlex.quote(framed)
        # Who is root needs no sudo; exit 0, because pyinfra answers a refusal by sudo with a prompt.
        direct = f'if [ "$(id -u)" = 0 ]; then sh -c {quoted}; else sudo -H -n sh -c {quoted}; fi; true'
        stdout, stderr = self._shell(direct, timeout)
        if not stdout and " is required" in stderr and sys.stdin.isatty():
            self._elevation = {"_sudo": True}  # now pyinfra asks, once, and remembers
            return self._shell(framed, timeout, **self._elevation)
        return stdout, stderr

    def _shell(self, command: str, timeout: int | None, **arguments: object) -> tuple[str, str]:
        expired = threading.Event()
        transport = transport_of(self._host)
        watchdog = threading.Timer((timeout or 0) + GRACE_S, _hang_up, (transport, expired))
        watchdog.daemon = True
        if timeout is not None and transport is not None:
            # pyinfra's own timeout needs a patched process; hanging up ends its blocking read.
            watchdog.start()
        elif timeout is not None:
            arguments["_timeout"] = timeout + GRACE_S
        try:
            _, output = self._host.run_shell_command(command, **arguments)
        except TimeoutError as error:
            raise self._too_slow(timeout) from error
        except (PyinfraError, OSError, SSHException, EOFError) as error:
            raise self._not_run(str(error) or type(error).__name__) from error
        finally:
            watchdog.cancel()
        if expired.is_set():
            raise self._too_slow(timeout)
        return output.stdout, output.stderr

    def _too_slow(self, timeout: int | None) -> GpuwrightError:
        return GpuwrightError.of(
            f"host {self.name}",
            f"a command did not finish within {timeout} s",
            "an answer in time",
            "Look at the host's load, disks and network.",
        )

    def _not_run(self, observed: str) -> GpuwrightError:
        last = next((line for line in reversed(observed.splitlines()) if line.strip()), "no output")
        refused = any(word in observed for word in ("sudo", "password", "askpass", "doas"))
        remedy = "Set _sudo_password for the host, or allow NOPASSWD." if refused else "Check the host."
        return GpuwrightError.of(
            f"host {self.name}", f"a command could not run or was cut off ({last})", "a shell as root", remedy
        )


def _hang_up(transport: Transport, expired: threading.Event) -> None:
    expired.set()
    transport.close()
