"""systemd units: enabled, running, and never older than what they were started from."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

from pyinfra import host
from pyinfra.api import FactBase, operation
from pyinfra.api.command import StringCommand
from typing_extensions import override

from gpuwright.operations.readings import Lines
from gpuwright.operations.shell import fields, script, show, will_change, would_change
from gpuwright.plan.model import Unit

PREFIX = "gpuwright-"
UNIT_DIRECTORY = "/etc/systemd/system"
# systemctl(1), is-enabled: these need no `enable`
STARTS_AT_BOOT = ("enabled", "static", "alias", "indirect", "generated")


@dataclass(frozen=True)
class UnitState:
    """systemd's view of a unit; `stale` when a watched file is younger than the unit's start.

    `swapped` when the container under a running service's name is not the one that this start made, or stands still.
    """

    load: str
    enabled: str
    active: str
    needs_reload: bool
    stale: bool
    swapped: bool = False

    @property
    def outlived(self) -> bool:
        """Whether what runs is not what a start would give now."""
        return self.active == "active" and (self.stale or self.swapped)

    @property
    def masked(self) -> bool:
        """Whether somebody forbade it to start."""
        return self.enabled.startswith("masked")


class UnitStates(FactBase[dict[str, UnitState]]):
    """`units` are (name, watched paths); times are compared on the host, whose clock they come from."""

    @override
    def command(self, units: tuple[tuple[str, tuple[str, ...]], ...]) -> StringCommand:
        arguments: list[str] = []
        for name, watches in units:
            arguments += [name, *watches, ""]
        return script(
            """
            show() { systemctl show --timestamp=us --property="$2" --value "$1"; }
            # A service's unit labels its container with the start that made it: templates/inference/service.unit.j2.
            swapped() {
                case "$1" in "$prefix"*) ;; *) echo no; return ;; esac
                if [ "$(show "$1" ActiveState)" != active ]; then echo no; return; fi
                shape='{{index .Config.Labels "gpuwright.start"}} {{.State.Status}}'
                found=$(docker container inspect --format "$shape" "${1%.service}" 2>/dev/null)
                if [ "$found" = "$(show "$1" InvocationID) running" ]; then echo no; else echo yes; fi
            }
            prefix=$1; shift
            while [ $# -gt 0 ]; do
                unit=$1; stale=no; shift
                since=$(show "$unit" InactiveExitTimestamp)
                if [ -n "$since" ] && [ "$since" != n/a ]; then since=$(date --date="$since" +%s%N); else since=0; fi
                while [ -n "$1" ]; do
                    if [ -e "$1" ] && [ "$(date --reference="$1" +%s%N)" -gt "$since" ]; then stale=yes; fi
                    shift
                done
                shift
                printf '%s\\t%s\\t%s\\t%s\\t%s\\t%s\\t%s\\n' "$unit" "$(show "$unit" LoadState)" \\
                    "$(show "$unit" UnitFileState)" "$(show "$unit" ActiveState)" \\
                    "$(show "$unit" NeedDaemonReload)" "$stale" "$(swapped "$unit")"
            done
            """,
            PREFIX,
            *arguments,
        )

    @override
    @staticmethod
    def default() -> dict[str, UnitState]:
        return {}

    @override
    def process(self, output: list[str]) -> dict[str, UnitState]:
        return {
            unit: UnitState(load, enabled, active, reload == "yes", stale == "yes", swapped == "yes")
            for unit, load, enabled, active, reload, stale, swapped in fields(output, 7)
        }


class UnitNames(Lines):
    """Unit files below our prefix that say that gpuwright wrote them; others are their owner's."""

    @override
    def command(self) -> StringCommand:
        return script(
            """
            for unit in "$1"/"$2"*.service; do
                if [ -f "$unit" ] && head -n 1 "$unit" | grep -q '^# Managed by gpuwright'; then echo "${unit##*/}"; fi
            done
            """,
            UNIT_DIRECTORY,
            PREFIX,
        )


class ManagerProperties(FactBase[dict[str, str]]):
    """Properties of the running service manager: `{"DefaultLimitMEMLOCK": "infinity"}`."""

    @override
    def command(self, names: tuple[str, ...]) -> StringCommand:
        return script('systemctl show --property="$1"', ",".join(names))

    @override
    @staticmethod
    def default() -> dict[str, str]:
        return {}

    @override
    def process(self, output: list[str]) -> dict[str, str]:
        return dict(line.split("=", 1) for line in output if "=" in line)


@operation()
def running(units: tuple[Unit, ...]) -> Generator[StringCommand]:
    """
    Start what is stopped; restart what is older than its files, and a service whose container is not its own.

    + units: an optional unit that the host does not have, or that is masked there, is left out
    """
    if not units:
        return
    states = unit_states(units)
    outlived = [unit.name for unit in units if states[unit.name].outlived]
    if len(outlived) > 1:
        # All of them first: one may want the port that another is about to leave.
        yield script('systemctl stop "$@"', *outlived)
    for unit in units:
        state = states[unit.name]
        if unit.optional and state.load in ("not-found", "masked"):
            host.noop(f"{unit.name} is {state.load} here")
            continue
        start = state.outlived or state.active != "active"
        for text in _differences(state):
            show(f"{unit.name}: {text}")
        if state.masked:
            yield script(
                'systemctl unmask --quiet "$1" && systemctl unmask --runtime --quiet "$1"', unit.name
            )
        if state.needs_reload or (start and state.load == "not-found"):
            yield script("systemctl daemon-reload")
        if state.enabled not in STARTS_AT_BOOT:
            yield script('systemctl enable --quiet "$1"', unit.name)
        if start:
            verb = "restart" if (state.stale or state.swapped) and state.active != "inactive" else "start"
            yield _start(verb, unit.name)
        else:
            host.noop(f"{unit.name} runs and is younger than its files")


def unit_states(units: tuple[Unit, ...]) -> dict[str, UnitState]:
    """Each unit's state; in a dry pass also stale by what operations before this one would change."""
    asked = tuple((unit.name, unit.watches) for unit in units)
    known = host.get_fact(UnitStates, units=asked)
    states = {}
    for unit in units:
        state = known.get(unit.name, UnitState("not-found", "", "inactive", False, False))
        if state.active == "active" and would_change((*unit.watches, *unit.follows)):
            state = replace(state, stale=True)
            will_change(unit.name)
        states[unit.name] = state
    return states


@operation()
def only(keep: tuple[Unit, ...]) -> Generator[StringCommand]:
    """
    Stop and remove the services of gpuwright that are no longer declared; their models stay.

    + keep: the declared ones
    """
    kept = {unit.name for unit in keep}
    for name in host.get_fact(UnitNames):
        if name in kept:
            continue
        show(f"{name}: no longer declared -> stopped and removed")
        service = name.removeprefix(PREFIX).removesuffix(".service")
        yield script('systemctl disable --now --quiet "$1"', name)
        yield script(
            """
            # The unit's file goes last: it is what a later run knows an interrupted removal by. The key stays,
            # out of use: whoever declares the service again keeps its clients.
            if [ -e "/etc/gpuwright/$3.env" ]; then
                mv -f "/etc/gpuwright/$3.env" "/etc/gpuwright/$3.env.removed" || exit
            fi
            rm -rf "/var/cache/gpuwright/$3" || exit
            rm -f "/var/lib/gpuwright/rungs/$3.env" "/etc/gpuwright/$3.conf" "$1/$2" && systemctl daemon-reload || exit
            systemctl reset-failed "$2" 2>/dev/null
            exit 0
            """,
            UNIT_DIRECTORY,
            name,
            service,
        )


@operation()
def manager(properties: tuple[tuple[str, str], ...]) -> Generator[StringCommand]:
    """
    Make the running service manager read its configuration again where it shows other values.

    + properties: name and value as `systemctl show` prints them
    """
    if not properties:
        return
    shown = host.get_fact(ManagerProperties, names=tuple(name for name, _ in properties))
    wrong = [
        f"{name}: {shown.get(name)} -> {value}" for name, value in properties if shown.get(name) != value
    ]
    if wrong:
        show(*wrong)
        # daemon-reload reads units only; defaults of [Manager] are read by daemon-reexec (systemctl(1)).
        yield script(
            """
            systemctl daemon-reexec || exit
            for wanted; do
                if [ "$(systemctl show --property="${wanted%%=*}")" = "$wanted" ]; then continue; fi
                echo "service manager: $wanted is declared, and another file overrules it; remove it there:" >&2
                grep -rs "^${wanted%%=*}=" /etc/systemd/system.conf.d /run/systemd/system.conf.d >&2
                exit 1
            done
            """,
            *(f"{name}={value}" for name, value in properties),
        )


def _differences(state: UnitState) -> Generator[str]:
    if state.enabled not in STARTS_AT_BOOT:
        yield f"{state.enabled or 'no unit file yet'} -> enabled"
    if state.active != "active":
        yield f"{state.active} -> active"
    elif state.stale:
        yield "older than what it was started from -> restarted"
    elif state.swapped:
        yield "the container under its name is not the one it started, or stands still -> restarted"


def _start(verb: str, unit: str) -> StringCommand:
    """Waits until the unit is up; a failure shows the unit's own last words instead of a hint at them.

    Starts on request count as failed ones do against StartLimitBurst, so the counter is put back first; it has
    nothing to put back, and says so, for a unit that systemd does not hold in memory. One that ran out of memory, and
    goes down its ladder for that, is started again as often as it has rungs.
    """
    return script(
        """
        rung=/var/lib/gpuwright/rungs/${2#gpuwright-}
        rung=${rung%.service}.env
        verb=$1
        while :; do
            before=$(cat "$rung" 2>/dev/null)
            systemctl reset-failed "$2" 2>/dev/null
            systemctl "$verb" "$2" && exit 0
            [ "$(cat "$rung" 2>/dev/null)" != "$before" ] || break
            verb=start
        done
        journalctl --unit "$2" --lines 30 --no-pager --output cat >&2
        exit 1
        """,
        verb,
        unit,
    )
