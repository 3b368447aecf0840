"""The manifest of a stored model: what the host says it holds, compared with what the plan wants. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from gpuwright.plan.model import Json

NAME = ".gpuwright.json"
_SCHEMA = 1

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


def converged(text: str | None, source: str | None, directory: str, sizes: Mapping[str, int]) -> bool:
    """Does `directory` hold what `source` (canonical JSON) asks for?

    `text` is the manifest's content and `sizes` are the bytes of the files found, by absolute path. A source
    that is None is not known on the control machine and never converged. Content is not read again: it was
    verified when it was stored, and a cut or missing file is seen by its size.
    """
    manifest = parse(text)
    if manifest is None or source is None or manifest.source != source:
        return False
    return all(sizes.get(f"{directory}/{file.path}") == file.size for file in manifest.files)


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
    if isinstance(path, str) and type(size) is int and isinstance(digest, str):
        return StoredFile(path, size, digest)
    return None
