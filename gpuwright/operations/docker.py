"""Docker's daemon.json: a file that others edit too, so keys are merged into it."""

from __future__ import annotations

import json
from collections.abc import Generator

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand, StringCommand
from typing_extensions import override

from gpuwright.errors import Refusal
from gpuwright.operations.files import FileText, show_diff
from gpuwright.operations.readings import Lines
from gpuwright.operations.shell import failure, script, will_change
from gpuwright.operations.units import unit_states
from gpuwright.plan.model import Json, JsonMerge, Unit

# The text comes in on stdin, because it may hold tokens. A link is followed; mode and owner stay as they are.
_REPLACE = """
set -e
umask 077
path=$1
if [ -L "$path" ]; then path=$(readlink -f "$path"); fi
mkdir -p -m 0755 "$(dirname "$path")"
cat > "$path.gpuwright-new"
if dockerd --help 2>/dev/null | grep -q -- --validate; then  # dockerd 23 and newer can check most of a file
    dockerd --validate --config-file "$path.gpuwright-new" || { rm -f "$path.gpuwright-new"; exit 1; }
fi
if [ -e "$path" ]; then
    chmod --reference="$path" "$path.gpuwright-new"
    chown --reference="$path" "$path.gpuwright-new"
    [ -e "$path.before-gpuwright" ] || cp -p "$path" "$path.before-gpuwright"
else
    chmod 0644 "$path.gpuwright-new"
fi
mv -f -T "$path.gpuwright-new" "$path"
"""


class OtherEngines(Lines):
    """What answers to `docker` on the host and is neither the distribution's package nor docker.com's."""

    @override
    def command(self) -> StringCommand:
        return script(
            """
            if [ -e /snap/bin/docker ]; then echo "Docker from a snap (snap remove docker)"; fi
            if dpkg-query --show --showformat='${db:Status-Abbrev}' podman-docker 2>/dev/null | grep -q '^.i'; then
                echo "podman under Docker's name (apt remove podman-docker)"
            fi
            if engine=$(command -v dockerd) && ! dpkg-query --search "$engine" >/dev/null 2>&1; then
                echo "$engine, which no package owns"
            fi
            """
        )


@operation()
def alone() -> Generator[PyinfraCommand]:
    """Refuse a host whose Docker is of another kind: beside it, ours would fight over one socket."""
    found = host.get_fact(OtherEngines)
    if found:
        yield failure(
            Refusal(
                "container engine",
                f"the host has {'; '.join(found)}",
                "Docker from the distribution or from docker.com, or no engine yet",
                "Move its containers, remove it, and run again; nothing of it was touched.",
            )
        )


class OthersContainers(Lines):
    """Names of running containers that are not services of gpuwright."""

    @override
    def command(self) -> StringCommand:
        return script("docker ps --format '{{.Names}}' | sed '/^gpuwright-/d'")


@operation()
def guarded(units: tuple[Unit, ...]) -> Generator[PyinfraCommand]:
    """
    Refuse a restart of the engine that would stop other people's containers.

    + units: the engine's unit, where restarts are guarded
    """
    if not units:
        return
    states = unit_states(units)
    if not any(states[unit.name].stale and states[unit.name].active == "active" for unit in units):
        return
    running = host.get_fact(OthersContainers)
    if running:
        yield failure(
            Refusal(
                "container engine",
                f"its configuration changed and it must restart, while {', '.join(sorted(running))} run on it",
                "no running container but gpuwright's",
                'Stop them when it suits, or set container_engine_restart = "always"; then run again.',
            )
        )


@operation()
def configured(merges: tuple[JsonMerge, ...]) -> Generator[PyinfraCommand]:
    """
    Merge keys into daemon.json; a file that is not JSON, or that dockerd would not accept, stays as it is.

    + merges: objects are merged key by key, every other value is replaced
    """
    for merge in merges:
        lines = host.get_fact(FileText, path=merge.path)
        text = "\n".join(lines)
        try:
            current: Json = json.loads(text) if text.strip() else {}
        except ValueError as error:
            current = f"not JSON ({error})"
        if not isinstance(current, dict):
            observed = current if isinstance(current, str) else "JSON, but no object"
            remedy = "Repair or remove the file, then run again; it was not touched."
            yield failure(Refusal(merge.path, observed, "a JSON object", remedy))
            return
        wanted = merged(json.loads(merge.new) if not text.strip() else current, json.loads(merge.values))
        if wanted == current:
            host.noop(f"{merge.path} has all keys")
            continue
        new_text = json.dumps(wanted, indent=2, sort_keys=True) + "\n"
        will_change(merge.path)
        show_diff(merge.path, new_text)
        yield StringCommand(script(_REPLACE, merge.path), _stdin=new_text)


def merged(base: dict[str, Json], over: dict[str, Json]) -> dict[str, Json]:
    """`over` wins; objects on both sides are merged.

    >>> merged({"a": 1, "o": {"x": 1}}, {"o": {"y": 2}})
    {'a': 1, 'o': {'x': 1, 'y': 2}}
    """
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result
