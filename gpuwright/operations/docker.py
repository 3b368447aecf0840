"""Docker's daemon.json: a file that others edit too, so keys are merged into it."""

from __future__ import annotations

import json
from collections.abc import Generator
from io import StringIO

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import FileUploadCommand, PyinfraCommand

from gpuwright.errors import Refusal
from gpuwright.operations.files import FileText, show_diff
from gpuwright.operations.shell import failure, script
from gpuwright.plan.model import Json, JsonMerge


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
        wanted = merged(current, json.loads(merge.values))
        if wanted == current:
            host.noop(f"{merge.path} has all keys")
            continue
        new_text = json.dumps(wanted, indent=2, sort_keys=True) + "\n"
        show_diff(merge.path, new_text)
        candidate = f"{merge.path}.gpuwright-candidate"
        yield script('mkdir -p "$(dirname "$1")"', candidate)
        yield FileUploadCommand(StringIO(new_text), candidate)
        yield script(
            """
            if dockerd --help | grep -q -- --validate; then  # dockerd 23 and newer can check a file
                dockerd --validate --config-file "$2" || { rm -f "$2"; exit 1; }
            fi
            chown root:root "$2" && chmod 0644 "$2" || exit 1
            if [ -e "$1" ] && [ ! -e "$1.before-gpuwright" ]; then cp -p "$1" "$1.before-gpuwright"; fi
            mv -f -T "$2" "$1"
            """,
            merge.path,
            candidate,
        )


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
