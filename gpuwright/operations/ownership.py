"""Whose a file is that people write as well as we: ours say so in their first lines, and others' are never lost."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand, StringCommand
from typing_extensions import override

from gpuwright.errors import Refusal
from gpuwright.operations.readings import Pairs
from gpuwright.operations.shell import failure, script, show
from gpuwright.plan.model import ManagedFile

OURS, OTHERS, NO_FILE = "ours", "others", "no file"
# For each path at which there is something: the path, and whose it is. verify asks the same.
OWNER = r"""
owner() {
    if [ -f "$1" ]; then
        # A script has its interpreter in the first line.
        if head -n 2 "$1" | grep -q '^# Managed by gpuwright'; then whose=ours; else whose=others; fi
    elif [ -e "$1" ] || [ -L "$1" ]; then
        whose='no file'
    else
        return 0
    fi
    printf '%s\t%s\n' "$1" "$whose"
}
"""


class Owners(Pairs):
    """`ours`, `others` or `no file` (a directory, a dangling link) for each path at which there is something."""

    @override
    def command(self, paths: tuple[str, ...]) -> StringCommand:
        return script(f'{OWNER}\nfor path; do owner "$path"; done', *paths)


@operation()
def respected(files: tuple[ManagedFile, ...]) -> Generator[PyinfraCommand]:
    """
    Refuse to write where somebody else's file lies.

    + files: what is about to be written
    """
    if not files:
        return
    owners = host.get_fact(Owners, paths=tuple(file.path for file in files))
    foreign = [path for path, owner in owners.items() if owner != OURS]
    if foreign:
        yield failure(
            *(
                Refusal(
                    path,
                    "it is there, and gpuwright did not write it",
                    "a file of gpuwright's, or none",
                    "Look what it does; remove it, or move it to another name; then run again. It was not touched.",
                )
                for path in foreign
            )
        )


@operation()
def dropped(paths: tuple[str, ...]) -> Generator[PyinfraCommand]:
    """
    Remove files of ours that nothing declares any more; others' stay.

    + paths: where they would lie
    """
    if not paths:
        return
    for path, owner in host.get_fact(Owners, paths=paths).items():
        if owner == OURS:
            show(f"{path}: no longer declared -> removed")
            yield script('rm -f "$1"', path)
