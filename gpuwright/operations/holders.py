"""Who holds a GPU: processes with a device node open, with their container and unit. Nothing is ever killed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gpuwright.errors import Refusal
from gpuwright.operations.root_shell import Shell
from gpuwright.operations.shell import fields

# pid, program, unit, container, device; a container's cgroup ends in its id (docker-ID.scope, /docker/ID).
FIND = """
for pattern; do
    for device in $pattern; do
        [ -e "$device" ] || continue
        find /proc/[0-9]*/fd -lname "$device" 2>/dev/null | cut -d/ -f3 | sort -u | while read -r pid; do
            [ "$pid" != "$$" ] && [ -r "/proc/$pid/cgroup" ] || continue
            group=$(tr '\\n' ' ' <"/proc/$pid/cgroup")
            unit=$(printf %s "$group" | grep -o '[^/ ]*\\.service' | tail -n 1)
            id=$(printf %s "$group" | grep -oE '[-/][0-9a-f]{64}' | head -n 1 | tr -d '/-')
            container=
            if [ -n "$id" ] && command -v docker >/dev/null; then
                container=$(docker container inspect --format '{{.Name}}' "$id" 2>/dev/null)
            fi
            printf '%s\\t%s\\t%s\\t%s\\t%s\\n' "$pid" "$(cat "/proc/$pid/comm")" "$unit" "${container#/}" "$device"
        done
    done
done
exit 0
"""


@dataclass(frozen=True)
class Holder:
    """A process; `unit` and `container` are "" where it has none."""

    pid: int
    program: str
    unit: str
    container: str
    devices: tuple[str, ...]

    def __str__(self) -> str:
        inside = [f"container {self.container}"] if self.container else []
        inside += [f"unit {self.unit}"] if self.unit else []
        where = f" ({', '.join(inside)})" if inside else ""
        return f"pid {self.pid} {self.program}{where} holds {', '.join(self.devices)}"


def holders(shell: Shell, devices: Iterable[str]) -> tuple[Holder, ...]:
    """The processes that hold one of `devices`, which are globs."""
    return parse(shell.run(FIND, *devices).lines)


def parse(lines: Iterable[str]) -> tuple[Holder, ...]:
    """One holder for each process."""
    found: dict[int, Holder] = {}
    for pid, program, unit, container, device in fields(lines, 5):
        before = found.get(int(pid))
        devices = (*before.devices, device) if before else (device,)
        found[int(pid)] = Holder(int(pid), program, unit, container, devices)
    return tuple(found[pid] for pid in sorted(found))


def refusal(change: str, there: tuple[Holder, ...]) -> Refusal:
    """What must end before a driver changes."""
    units = dict.fromkeys(holder.unit for holder in there if holder.unit)
    stop = f"systemctl stop {' '.join(units)}" if units else "end these processes"
    return Refusal(
        change,
        "; ".join(str(holder) for holder in there),
        "no process that holds a GPU while its driver changes",
        f"Nothing was killed or changed. Stop them ({stop}), then run again.",
    )
