"""Whole files: compared by content, mode and owner; written beside and renamed."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from difflib import unified_diff
from hashlib import sha256
from io import StringIO

from pyinfra import host
from pyinfra.api import FactBase, operation
from pyinfra.api.command import FileUploadCommand, PyinfraCommand, StringCommand
from pyinfra.operations.util.files import generate_color_diff
from typing_extensions import override

from gpuwright.operations.readings import Lines
from gpuwright.operations.shell import fields, listener, script, show, will_change
from gpuwright.plan.model import ManagedFile
from gpuwright.render import render

_DIRECTORY = 'mkdir -p "$1" && chown root "$1" && chmod go-w "$1"'


@dataclass(frozen=True)
class FileState:
    """A regular file on the host: mode in octal digits, owner as user:group, sha256 in hex.

    `open_directory` when others than root can replace it, because they can write to its directory.
    """

    mode: str
    owner: str
    digest: str
    open_directory: bool


class FileStates(FactBase[dict[str, FileState]]):
    """The regular files among `paths`; a path that is absent, or is something else, is not in the answer."""

    @override
    def command(self, paths: tuple[str, ...]) -> StringCommand:
        return script(
            """
            for path; do
                if [ -f "$path" ] && [ ! -L "$path" ]; then
                    digest=$(sha256sum < "$path") || exit 1
                    open=$(find -H "${path%/*}/" -maxdepth 0 \\( ! -user 0 -o -perm /022 \\)) || exit 1
                    printf '%s\\t%s\\t%s\\t%s\\n' "$path" "$(stat -c '%04a\t%U:%G' "$path")" "${digest%% *}" \\
                        "${open:-root}"
                fi
            done
            """,
            *paths,
        )

    @override
    @staticmethod
    def default() -> dict[str, FileState]:
        return {}

    @override
    def process(self, output: list[str]) -> dict[str, FileState]:
        return {
            path: FileState(mode, owner, digest, directory != "root")
            for path, mode, owner, digest, directory in fields(output, 5)
        }


class FileText(Lines):
    """The lines of a text file, none where it is absent."""

    @override
    def command(self, path: str) -> StringCommand:
        return script('if [ -f "$1" ]; then cat "$1"; fi', path)


@operation()
def rendered(files: tuple[ManagedFile, ...]) -> Generator[PyinfraCommand]:
    """
    Write the files whose content, mode or owner differs from the plan's, and leave their directories to root.

    + files: each is rendered from its template, and owned by root
    """
    yield from write({file.path: (render(file), file.mode) for file in files})


@operation()
def absent(paths: tuple[str, ...]) -> Generator[PyinfraCommand]:
    """
    Remove files that a setting brought which is no longer declared.

    + paths: files that only gpuwright writes
    """
    if not paths:
        return
    for path in host.get_fact(FileStates, paths=paths):
        show(f"{path}: no longer declared -> removed")
        yield script('rm -f "$1"', path)


def write(wanted: dict[str, tuple[str, str]]) -> Generator[PyinfraCommand]:
    """Commands that bring `path: (text, mode)` about; one fact for all of them, and none for no files."""
    if not wanted:
        return
    states = host.get_fact(FileStates, paths=tuple(wanted))
    as_planned = {
        path: states[path].digest == sha256(text.encode()).hexdigest()
        for path, (text, _) in wanted.items()
        if path in states
    }
    for path, (text, _) in wanted.items():
        if not as_planned.get(path, False):
            will_change(path)
            show_diff(path, text)
    for directory in dict.fromkeys(
        path.rpartition("/")[0] for path, state in states.items() if state.open_directory
    ):
        show(f"{directory}: others can write to it -> root alone")
        yield script(_DIRECTORY, directory)
    for path, (text, mode) in wanted.items():
        if not as_planned.get(path, False):
            yield from _replace(path, text, mode)
        elif (states[path].mode, states[path].owner) != (mode, "root:root"):
            show(f"{path}: {states[path].mode} {states[path].owner} -> {mode} root:root")
            yield script('chown root:root "$1" && chmod "$2" "$1"', path, mode)


def show_diff(path: str, text: str) -> None:
    """Under --diff: what `text` changes at `path`."""
    if not host.state.config.DIFF:
        return
    current = host.get_fact(FileText, path=path)
    listening = listener()
    if listening is not None:
        diff = unified_diff(current, text.splitlines(), fromfile=path, tofile=path, n=2, lineterm="")
        listening.diffs.append((path, "\n".join(diff)))
        return
    show(f"{path}:", *(f"  {line}" for line in generate_color_diff(current, text.splitlines())))


def _replace(path: str, text: str, mode: str) -> Generator[PyinfraCommand]:
    beside = f"{path}.gpuwright-new"
    yield script(_DIRECTORY, path.rpartition("/")[0])
    yield FileUploadCommand(StringIO(text), beside)
    yield script('chown root:root "$2" && chmod "$3" "$2" && mv -f -T "$2" "$1"', path, beside, mode)
