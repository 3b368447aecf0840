"""ModelFacts of a hub's repository: config.json and the sizes of its weights, or the first bytes of a GGUF file.

No weight travels. HF_ENDPOINT and HF_TOKEN hold as for models that are stored.
"""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from gpuwright.errors import GpuwrightError
from gpuwright.models import gguf, hub
from gpuwright.models.hub import HubFile, Listing
from gpuwright.plan.model import HuggingFaceRepo
from gpuwright.plan.sizing.model import ModelFacts
from gpuwright.sizing import gguf_file
from gpuwright.sizing.huggingface import from_config

_REFERENCE = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+?)(@(?P<revision>[\w./-]+))?(:(?P<file>.+\.gguf))?")
# Headers are some KiB of shapes and up to some MiB of vocabulary.
_FIRST_BYTES = (4 << 20, 16 << 20, 64 << 20)
_TIMEOUT_S = 60


@dataclass(frozen=True)
class Reference:
    """`org/name`, with `@revision` and, of a repository with GGUF files, `:file.gguf`."""

    repo: str
    revision: str
    file: str


def reference(text: str) -> Reference | None:
    """What `text` names on a hub; None where it is no such name."""
    found = _REFERENCE.fullmatch(text)
    return Reference(found["repo"], found["revision"] or "main", found["file"] or "") if found else None


def read(wanted: Reference) -> tuple[ModelFacts, Listing]:
    """The model, and the files that it was read from, at their commit.

    Raises GpuwrightError where the hub does not answer, or the repository has no model that sizing can read.
    """
    include = (wanted.file,) if wanted.file else ("config.json", "*.safetensors", "*.gguf")
    listing = hub.listing(HuggingFaceRepo(wanted.repo, wanted.revision, include))
    files = {file.path: file for file in listing.files}
    subject = f"model {wanted.repo}"
    if wanted.file:
        if wanted.file not in files:
            raise GpuwrightError.of(subject, f"has no {wanted.file}", "one of its files", "Check the name.")
        return _gguf(subject, files[wanted.file]), listing
    weights = [file for path, file in files.items() if _is_weight(path)]
    if "config.json" not in files or not weights:
        several = [path for path in files if path.endswith(".gguf")]
        remedy = (
            f"Name one: {wanted.repo}:{several[0]}" if several else "Take another repository of the model."
        )
        observed = f"has {'GGUF files' if several else 'no weights'} and no config.json with safetensors"
        raise GpuwrightError.of(
            subject, observed, "safetensors and their config.json, or the name of a file", remedy
        )
    config = json.loads(_get(subject, files["config.json"], None))
    model = from_config(wanted.repo, config)
    source = f"{wanted.repo} at {listing.commit}"
    return replace(model, file_bytes=sum(file.size for file in weights), source=source), listing


def _is_weight(path: str) -> bool:
    """Not the copies in another layout that some repositories carry: original/, consolidated.*."""
    return (
        path.endswith(".safetensors")
        and "/" not in path
        and not PurePosixPath(path).name.startswith("consolidated")
    )


def _gguf(subject: str, file: HubFile) -> ModelFacts:
    with tempfile.TemporaryDirectory() as folder:
        begin = Path(folder) / PurePosixPath(file.path).name
        for length in _FIRST_BYTES:
            begin.write_bytes(_get(subject, file, length))
            try:
                return gguf_file.of_header(begin, gguf.read(begin))
            except GpuwrightError:
                if length == _FIRST_BYTES[-1] or begin.stat().st_size < length:
                    raise
    raise AssertionError("the last length returns or raises")


def _get(subject: str, file: HubFile, length: int | None) -> bytes:
    """The file, or its first `length` bytes."""
    from huggingface_hub import get_session  # imported here, as in hub.py

    token = hub.token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if length is not None:
        headers["Range"] = f"bytes=0-{length - 1}"
    try:
        answer = get_session().get(file.url, headers=headers, follow_redirects=True, timeout=_TIMEOUT_S)
        answer.raise_for_status()
    except Exception as error:  # the HTTP library below the hub client changes between its releases
        remedy = "Check HF_ENDPOINT, HF_TOKEN and the licence page of a gated model."
        raise GpuwrightError.of(
            subject, f"{file.path} did not come: {hub.said(error)}", "a file to read", remedy
        ) from error
    return bytes(answer.content)
