"""The manifest of a stored model: what the host says it holds, compared with what the plan wants. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from gpuwright.plan.model import Json

NAME = ".gpuwright.json"
_SCHEMA = 1
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|git-sha1:[0-9a-f]{40}")

Source = dict[str, Json]


@dataclass(frozen=True)
class StoredFile:
    """A file below a model's directory: `size` in bytes, `digest` as `sha256:` or `git-sha1:` and hex."""

    path: str
    size: int
    digest: str


@dataclass(frozen=True)
class Manifest:
    """What one model's directory holds, and the canonical JSON of the source that it came from.

    `commit` is the revision that a branch name stood for when the files were listed, or None.
    """

    source: str
    files: tuple[StoredFile, ...]
    commit: str | None = None

    def to_text(self) -> str:
        """The manifest as it lies on the host; equal manifests give equal text."""
        document = {
            "schema": _SCHEMA,
            "source": json.loads(self.source),
            "commit": self.commit,
            "files": [asdict(file) for file in sorted(self.files, key=lambda file: file.path)],
        }
        return json.dumps(document, indent=1, sort_keys=True) + "\n"


@dataclass(frozen=True)
class FoundFile:
    """A file on the host: `size` in bytes, `mtime` in whole seconds since the epoch."""

    size: int
    mtime: int


def converged(text: str | None, source: str | None, directory: str, files: Mapping[str, FoundFile]) -> bool:
    """Does `directory` hold what `source` (canonical JSON) asks for?

    `text` is the manifest's content and `files` are the files found, by absolute path. A source that is None is
    not known on the control machine and never converged. Content is not read again: a cut or missing file is
    seen by its size, and one that was written to by its time.
    """
    manifest = parse(text)
    if manifest is None or source is None or manifest.source != source:
        return False
    return not missing(manifest, directory, files) and not touched(manifest, directory, files)


def missing(manifest: Manifest, directory: str, files: Mapping[str, FoundFile]) -> list[str]:
    """The listed files that are not there in full length, by their path below `directory`."""
    found = {path.removeprefix(f"{directory}/"): file.size for path, file in files.items()}
    return [file.path for file in manifest.files if found.get(file.path) != file.size]


def touched(manifest: Manifest, directory: str, files: Mapping[str, FoundFile]) -> list[str]:
    """The files that are there, and that somebody may have written to since they were verified."""
    found = {path.removeprefix(f"{directory}/"): file.mtime for path, file in files.items()}
    return [
        file.path
        for file in manifest.files
        if file.path in found and found[file.path] != verified_time(file.digest)
    ]


def verified_time(digest: str) -> int:
    """The modification time that a file gets when it has been verified, in seconds since the epoch, before 1979.

    Whoever writes to the file moves it, so that one look at its time tells what only reading gigabytes would. It
    lies on the content itself, so nothing that is written later can vouch for it by mistake; and it comes from
    the digest, because tools like rsync take files of equal size and time for equal.
    """
    return int(digest.partition(":")[2][:7], 16)


def parse(text: str | None) -> Manifest | None:
    """The manifest in `text`; None where there is none or it cannot be trusted, which means: store again."""
    if not text:
        return None
    try:
        document = json.loads(text)
    except json.JSONDecodeError:
        return None
    if not isinstance(document, dict) or document.get("schema") != _SCHEMA:
        return None
    source, commit, rows = document.get("source"), document.get("commit"), document.get("files")
    if not isinstance(source, dict) or not isinstance(rows, list) or not rows:
        return None
    files = tuple(file for file in map(_file, rows) if file is not None)
    if len(files) != len(rows):
        return None
    return Manifest(canonical(source), files, commit if isinstance(commit, str) else None)


def canonical(source: Source) -> str:
    """One spelling per value, so that sources can be compared as text."""
    return json.dumps(source, sort_keys=True, separators=(",", ":"))


def _file(row: object) -> StoredFile | None:
    if not isinstance(row, dict):
        return None
    path, size, digest = row.get("path"), row.get("size"), row.get("digest")
    if not isinstance(path, str) or type(size) is not int or not isinstance(digest, str):
        return None
    if _DIGEST.fullmatch(digest):
        return StoredFile(path, size, digest)
    return None
