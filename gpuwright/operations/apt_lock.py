"""apt's locks: who holds one is said at once, waited for, and never killed.

apt waits by itself for dpkg's frontend lock alone, in a silence of minutes, and not at all for its lists.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS
from pyinfra.api.command import FunctionCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from gpuwright.errors import Refusal
from gpuwright.operations.shell import failed, fields, script

_LOCKS = (
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
)
_POLL_S = 2
_SAY_EVERY_S = 10

# proc(5): POSIX locks by inode; the holder has the file open as well, which tells it from an inode of the same
# number elsewhere.
_HOLDER = """
for lock; do
    inode=$(stat -c %i "$lock" 2>/dev/null) || continue
    for pid in $(awk -v end=":$inode" '$2 == "POSIX" && substr($6, length($6) - length(end) + 1) == end { print $5 }' \\
        /proc/locks); do
        if find "/proc/$pid/fd" -lname "$lock" 2>/dev/null | grep -q .; then
            printf '%s\\t%s\\t%s\\n' "$lock" "$pid" "$(cat "/proc/$pid/comm")"
            exit 0
        fi
    done
done
"""


@dataclass(frozen=True)
class _Holder:
    lock: str
    pid: str
    program: str


def free(timeout_s: int) -> FunctionCommand:
    """A command that returns when nobody holds a lock of apt's; it fails the host after `timeout_s` seconds."""
    return FunctionCommand(_wait, (timeout_s,), {})


def _wait(state: State, host: Host, timeout_s: int) -> bool:
    began = time.monotonic()
    said: float | None = None
    while (holder := _holder(host)) is not None:
        waited = time.monotonic() - began
        who = f"{holder.program} (pid {holder.pid})"
        if waited >= timeout_s:
            refusal = Refusal(
                holder.lock,
                f"{who} still holds it after {waited:.0f} s",
                f"apt to be free within {timeout_s} s (base_apt_lock_timeout_s)",
                "Let it end, or stop what started it; it was not touched. Then run again.",
            )
            return failed(state, host, (refusal,))
        if said is None or waited - said >= _SAY_EVERY_S:
            said = waited
            host.log(f"waiting for {who}, which holds {holder.lock}: {waited:.0f} of {timeout_s} s")
        time.sleep(min(_POLL_S, timeout_s - waited))
    return True


def _holder(host: Host) -> _Holder | None:
    given: Mapping[str, object] = dict(host.current_op_global_arguments or {})
    arguments = {key: value for key, value in given.items() if key in CONNECTOR_ARGUMENT_KEYS}
    ok, output = host.run_shell_command(script(_HOLDER, *_LOCKS), **arguments)
    rows = fields(output.stdout_lines, 3) if ok else []
    return _Holder(*rows[0]) if rows else None
