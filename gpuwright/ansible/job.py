"""A command that says how far it is while it runs: beside the connection, and looked at from time to time.

Ansible gives a command's output only when the command has ended.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from gpuwright.ansible.lease import Lease
from gpuwright.ansible.shell import Ran, Shell, command

_LOOK_EVERY_S = 2

# $1 the job's directory, $2 the file that names the running command, $3 the command line.
_START = """
umask 077
mkdir "$1" && cat >"$1/in" || exit
setsid sh -c 'rm -f "$1/in"; sh -c "$2" >"$1/out" 2>"$1/err"; echo "$?" >"$1/code.new"; mv "$1/code.new" "$1/code"' \
    sh "$1" "$3" <"$1/in" >/dev/null 2>&1 &
echo "$!" >"$1/pid"
echo "$!" >"$2"
"""
# $1 the job's directory, $2 how many bytes of its output are known. Prints the exit code, or nothing, and what is new.
_LOOK = """
if [ ! -d "$1" ]; then echo 255; echo "the job is gone" >&2; exit; fi
code=$(cat "$1/code" 2>/dev/null)
echo "$code"
tail -c "+$(($2 + 1))" "$1/out"
if [ -n "$code" ]; then cat "$1/err" >&2; rm -rf "$1"; fi
"""


def watched(shell: Shell, lease: Lease, raw: str, stdin: bytes, say: Callable[[str], None]) -> Ran:
    """Run the command line `raw` and `say` its lines as they come. It ends with the lease at the latest.

    Raises OSError where the host is lost.
    """
    name = f"{lease.directory}/job.{secrets.token_hex(4)}"
    started = shell.run(command(_START, name, f"{lease.directory}/task", raw), stdin)
    if started.code != 0:
        return started
    said = b""
    while True:
        time.sleep(_LOOK_EVERY_S)
        ran = shell.run(command(_LOOK, name, str(len(said))))
        code, _, more = ran.stdout.partition("\n")
        before, said = said, said + more.encode(errors="surrogateescape")
        for line in _new_lines(before, said):
            say(line)
        if code:
            return Ran(int(code), said.decode(errors="replace"), ran.stderr)


def _new_lines(before: bytes, now: bytes) -> list[str]:
    """The lines that are complete in `now` and were not `before`."""
    return now[before.rfind(b"\n") + 1 : now.rfind(b"\n") + 1].decode(errors="replace").splitlines()
