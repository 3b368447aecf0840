"""The run lock: one run at a time changes a host.

A process on the host holds flock(2) on a file below /run exactly as long as the run's own connection lasts: its
stdin is that connection, and the end of it ends the process. So a killed run, a cut connection and a reboot
all release the lock by themselves, and there is nothing to clean up.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from paramiko import SSHException
from pyinfra import host
from pyinfra.api import FactBase, operation
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS
from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from typing_extensions import override

from gpuwright import attached, control_process
from gpuwright.askpass import unix_command
from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.operations.shell import failure, script

PATH = "/run/gpuwright.lock"
WAIT_S = 2  # for a holder whose connection has just ended, and for the winner of a tie to write its name

# Says who holds the lock file $1. Ages are uptime, which no adjustment of the clock moves.
_SAY_WHO = """
say_who() {
    IFS='\t' read -r name since pid origin <"$1"
    read -r now _ </proc/uptime
    age=$((${now%.*} - ${since:-${now%.*}}))
    printf 'taken\\t%s\\t%s\\t%s\\t%s\\n' "${name:-another run}" "$age" "${pid:-0}" "$origin"
}
"""
LOOK = f"""{_SAY_WHO}
[ -e "$1" ] && exec 9<"$1" || exit 0
flock --shared --nonblock 9 || say_who "$1"
"""
# $2 is the owner, $3 the wait in seconds, $4 the owner's process.
HOLD = f"""{_SAY_WHO}
umask 077
exec 9>>"$1" || exit
if ! flock --wait "$3" 9; then say_who "$1"; exit; fi
read -r now _ </proc/uptime
printf '%s\\t%s\\t%s\\t%s\\n' "$2" "${{now%.*}}" "$$" "$4" >"$1"
echo held
# Something to send: only so does sshd notice a machine that vanished, which sends nothing, not even an end
# (after 16 minutes: tcp_retries2 in tcp(7)). No child may keep the lock.
while printf . && sleep 15; do :; done 9>&- </dev/null &
cat >/dev/null 9>&-
kill "$!"
"""
# $1 is the holder, $2 where leases are: who keeps it (gpuwright/ansible/lease.py) waits for a command that still runs.
LET_GO = """
pid=$1
while [ "${pid:-0}" -gt 1 ] && ! grep -qsx "$pid" "$2"/gpuwright-task-*/keeper; do
    pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status")
done
if [ "${pid:-0}" -gt 1 ]; then kill "$pid"; else kill "$1"; fi
"""

# What holds the lock of each host, for as long as this process lives and the host is in use.
_held: WeakKeyDictionary[Host, object] = WeakKeyDictionary()


@dataclass(frozen=True)
class Owner:
    """Who holds the lock (`user@machine, pid N`), for how many seconds, and the holder's pid on the host.

    `origin` is the owner's process on its control machine, as `control_process.origin` gives it.
    """

    name: str
    age_s: int
    pid: int
    origin: str = ""

    @property
    def age(self) -> str:
        """`3 min 5 s`.

        >>> Owner("a@b, pid 1", 7385, 2).age
        '2 h 3 min 5 s'
        """
        minutes, seconds = divmod(self.age_s, 60)
        hours, minutes = divmod(minutes, 60)
        parts = [f"{value} {unit}" for value, unit in ((hours, "h"), (minutes, "min")) if value]
        return " ".join([*parts, f"{seconds} s"])


class LockOwner(FactBase[Owner | None]):
    """Who holds the run lock now; looking neither takes it nor makes its file."""

    @override
    def command(self) -> StringCommand:
        return script(LOOK, PATH)

    @override
    @staticmethod
    def default() -> Owner | None:
        return None

    @override
    def process(self, output: list[str]) -> Owner | None:
        return parse_owner(output[0]) if output else None


@operation()
def held() -> Generator[PyinfraCommand]:
    """
    Keep other runs away from the host until this one ends; only a run that executes takes the lock.

    A look (a dry run, drift) says who holds it and goes on. One that another run holds fails this host alone.
    """
    if not host.state.is_executing:
        owner = host.get_fact(LockOwner)
        if owner is not None:
            host.log(
                f"  {host.name} is being changed by {owner.name}, for {owner.age}: this may be half of it"
            )
        return
    if host in _held:
        host.noop("this run holds the lock")
        return
    try:
        owner = _take(host)
        if owner is not None and control_process.gone(owner.origin):
            # Its run was killed on this very machine, and Ansible's connections tell a host nothing of that.
            host.run_shell_command(script(LET_GO, str(owner.pid), "/run"), **_elevation(host))
            owner = _take(host)
        if owner is not None:
            raise GpuwrightError(_taken(host, owner))
    except GpuwrightError as error:
        yield failure(*error.refusals)
        return
    host.noop("this run holds the lock now")


def parse_owner(line: str) -> Owner:
    """The owner in a line of `say_who`. Raises ValueError for one that was cut off."""
    word, name, age_s, pid, origin = line.rstrip("\n").split("\t")
    if word != "taken":
        raise ValueError(f"not about an owner: {line!r}")
    return Owner(name, int(age_s), int(pid), origin)


def _take(host: Host) -> Owner | None:
    """Start the holder; gives whoever has the lock instead. Raises GpuwrightError where it could not be asked for."""
    command = script(HOLD, PATH, _who(), str(WAIT_S), control_process.origin())
    try:
        line = f"exec {unix_command(host.state, host, command, **_elevation(host)).get_raw_value()}"
        holder = attached.start(host, line, f"run lock of {host.name}")
        for said in holder.stdout:
            if said.strip() == "held":
                _held[host] = holder
                return None
            if said.startswith("taken\t"):
                return parse_owner(said)
        lines = [error for error in holder.stderr if error.strip()]
    except (PyinfraError, SSHException, EOFError, OSError, ValueError) as error:
        lines = [str(error) or type(error).__name__]
    observed = f"no answer about {PATH} ({lines[-1].strip() if lines else 'it said nothing'})"
    raise GpuwrightError.of(
        f"run lock of {host.name}", observed, "flock(1) and a shell as root", "Check the host and run again."
    )


def _elevation(host: Host) -> dict[str, object]:
    """The operation's own sudo, read at call time and never kept: it holds the password."""
    given: Mapping[str, object] = dict(host.current_op_global_arguments or {})
    apart = {
        "_success_exit_codes",
        "_timeout",
        "_get_pty",
        "_stdin",
    }  # about running, not about becoming root
    return {key: value for key, value in given.items() if key in CONNECTOR_ARGUMENT_KEYS and key not in apart}


def _taken(host: Host, owner: Owner) -> Refusal:
    if control_process.gone(owner.origin):
        return Refusal(
            f"host {host.name}",
            f"a run that is over left a command running there ({owner.name}, begun {owner.age} ago)",
            "one run at a time",
            "Wait until that command has ended, which lets go of the lock; then run again.",
        )
    return Refusal(
        f"host {host.name}",
        f"another run has been changing it for {owner.age} ({owner.name})",
        "one run at a time",
        "Wait until that one has ended, then run again; if its machine is lost, the lock ends by itself "
        f"within 16 minutes, or at once by `sudo kill {owner.pid}` on the host.",
    )


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}, pid {os.getpid()}"
