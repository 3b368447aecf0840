"""/etc/nccl.conf and /etc/rccl.conf: administrators write them by hand, so what they say there is not lost."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand

from gpuwright.errors import Refusal
from gpuwright.operations.files import FileText
from gpuwright.operations.ownership import NO_FILE, OTHERS, Owners
from gpuwright.operations.shell import failure, script, show
from gpuwright.plan.model import ManagedFile
from gpuwright.render import render

SHOWN = 12
_KEEP = '[ -e "$1.before-gpuwright" ] || cp -p "$1" "$1.before-gpuwright"'


@operation()
def adopted(files: tuple[ManagedFile, ...]) -> Generator[PyinfraCommand]:
    """
    Take the place of a configuration that sets nothing which ours does not; refuse to replace any other.

    + files: ours, which are written next; a copy of theirs stays beside them
    """
    if not files:
        return
    owners = host.get_fact(Owners, paths=tuple(file.path for file in files))
    for file in files:
        owner = owners.get(file.path)
        if owner == NO_FILE:
            yield failure(_no_file(file.path))
        if owner != OTHERS:
            continue
        lines: list[str] = host.get_fact(FileText, path=file.path)
        theirs = parse(lines)
        ours = parse(render(file).splitlines())
        lost = {name: value for name, value in theirs.items() if ours.get(name) != value}
        if lost:
            yield failure(_theirs(file.path, lost))
            continue
        show(f"{file.path}: sets nothing else -> ours; as it was: {file.path}.before-gpuwright")
        yield script(_KEEP, file.path)


def parse(lines: Iterable[str]) -> dict[str, str]:
    """What such a file sets, by NCCL's rules: no trimming, `#` counts in the first column, the first of a name wins.

    >>> parse(["# no=1", "A=1", " A=2", "A=3", "B==x", "neither"])
    {'A': '1', ' A': '2', 'B': '=x'}
    """
    found: dict[str, str] = {}
    for line in lines:
        name, equals, value = line.partition("=")
        if name and equals and not line.startswith("#"):
            found.setdefault(name, value)
    return found


def _theirs(path: str, lost: dict[str, str]) -> Refusal:
    listed = [f"{name}={value}" for name, value in lost.items()]
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return Refusal(
        path,
        f"gpuwright did not write it, and it sets {', '.join(listed[:SHOWN])}{more}, as the plan does not",
        "a file of gpuwright's, none, or one that sets nothing else",
        "Declare what is wanted of it in interconnect_variables (what is neither NCCL_ nor RCCL_ belongs into the "
        "environment of programs), or remove it; then run again. It was not touched.",
    )


def _no_file(path: str) -> Refusal:
    return Refusal(
        path,
        "it is not a regular file (Docker makes a directory where a file to be mounted is missing)",
        "a file, or nothing",
        f"Look what it is, remove it (rmdir {path}), then run again. It was not touched.",
    )
