"""A process on a host that lasts as long as a task of Ansible's.

pyinfra keeps one connection open, whose end a process on the host sees. Ansible's connections open and close with
each command, so here the process is kept by another one beside it, until the task says that it has ended, or is not
heard of any more: no command of it runs, and none began for a quarter of an hour. That is as long as sshd needs to
give up a machine that vanished.
"""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import dataclass

from gpuwright.ansible.shell import Shell, command
from gpuwright.attached import Attached

IDLE_S = 900
BELOW = "/run"

# $1 is the directory with all that belongs to it, $2 the command line, $3 the seconds without a command.
# `task` names the shell that runs the task's present command; another one each time.
_KEEP = """
directory=$1
sh -c "$2" <"$directory/in" >"$directory/out" 2>"$directory/err" &
child=$!
exec 8>"$directory/in"
cat "$directory/first" >&8
rm -f "$directory/first"
# A command that Ansible gave up (timeout, Ctrl-C) runs on, and keeps the child until it has ended. The session's other
# processes end, too, where the child was killed and left some.
over() {
    trap '' TERM HUP INT
    for job in "$directory"/job.*/pid; do if [ -e "$job" ]; then kill -- "-$(cat "$job")"; fi; done 2>/dev/null
    now=$(cat "$directory/task" 2>/dev/null)
    while [ -n "$now" ] && kill -0 "$now" 2>/dev/null; do sleep 1 8>&-; done
    exec 8>&-
    wait "$child"
    rm -rf "$directory"
    kill 0
    exit
}
trap over TERM HUP INT
echo "$$" >"$directory/keeper"
idle=0
seen=
while kill -0 "$child" 2>/dev/null && [ "$idle" -lt "$3" ]; do
    sleep 1 8>&- & wait "$!"
    now=$(cat "$directory/task" 2>/dev/null)
    if [ "$now" != "$seen" ] || { [ -n "$now" ] && kill -0 "$now" 2>/dev/null; }; then
        idle=0
        seen=$now
    else
        idle=$((idle + 1))
    fi
done
over
"""
# $1 the keeper's script, $2 the command line, $3 the seconds, $4 where the directory goes. Prints the directory's
# path, then what the process says first.
_START = """
umask 077
directory=$(mktemp -d "$4/gpuwright-task-XXXXXXXXXXXX") || exit
mkfifo "$directory/in" && cat >"$directory/first" || exit
: >"$directory/out"
: >"$directory/err"
exec 5<"$directory/out" 6<"$directory/err"  # readable when all has ended already
setsid sh -c "$1" sh "$directory" "$2" "$3" 5<&- 6<&- </dev/null >/dev/null 2>&1 &
echo "$directory"
ready() { [ -s "$directory/keeper" ] && { [ -s "$directory/out" ] || [ -s "$directory/err" ]; }; }
until ready || ! kill -0 "$!" 2>/dev/null; do sleep 0.05; done
cat <&5
cat <&6 >&2
"""
# Until the keeper is gone, so that the next task, or another run, finds nothing of it.
_END = """
keeper=$(cat "$1/keeper" 2>/dev/null) || exit 0
kill "$keeper" 2>/dev/null
tries=0
while [ -e "$1" ] && [ "$tries" -lt 60 ]; do sleep 0.05; tries=$((tries + 1)); done
"""


@dataclass(frozen=True)
class Lease:
    """A kept process: `process` has what it said first, `directory` on the host all that belongs to it."""

    process: Attached
    directory: str
    _shell: Shell

    @classmethod
    def start(cls, shell: Shell, line: str, stdin: str) -> Lease:
        """Start `line` and send it `stdin`, which then stays open. Raises OSError where that cannot be done."""
        ran = shell.run(command(_START, _KEEP, line, str(IDLE_S), BELOW), stdin.encode())
        directory, _, said = ran.stdout.partition("\n")
        if not directory.startswith(BELOW):
            raise OSError(ran.stderr.strip() or f"it ended with {ran.code}")
        return cls(Attached(None, said.splitlines(), ran.stderr.splitlines()), directory, shell)

    def renewing(self, raw: str) -> str:
        """The command line `raw`, which also says that the task is alive, as long as it runs."""
        return f"{{ echo $$ >{shlex.quote(self.directory)}/task; }} 2>/dev/null; {raw}"

    def end(self) -> None:
        """Let the process end, now. A host that is lost ends it by itself, later."""
        with suppress(OSError):
            self._shell.run(command(_END, self.directory))
