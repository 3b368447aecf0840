"""What a model hub holds: the files of a repository at one commit, with sizes and digests."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import quote

from gpuwright.errors import GpuwrightError
from gpuwright.plan.model import HuggingFaceRepo

_TIMEOUT_S = 30


@dataclass(frozen=True)
class HubFile:
    """A file of a repository: `size` in bytes, `digest` as `sha256:` (LFS) or `git-sha1:` (kept in git)."""

    path: str
    size: int
    digest: str
    url: str


@dataclass(frozen=True)
class Listing:
    """The wanted files of a repository at `commit`."""

    commit: str
    files: tuple[HubFile, ...]


def listing(source: HuggingFaceRepo) -> Listing:
    """Ask the hub (HF_ENDPOINT, with HF_TOKEN) which files the globs choose at the revision's commit.

    Raises GpuwrightError where the hub refuses or does not answer, or where the globs choose nothing.
    """
    # Imported here: huggingface_hub costs a quarter of a second, and most runs never ask a hub.
    from huggingface_hub import HfApi

    base = endpoint()
    subject = f"model repository {source.repo} at {source.revision}"
    try:
        info = HfApi(endpoint=base, token=token() or False).model_info(
            source.repo, revision=source.revision, files_metadata=True, timeout=_TIMEOUT_S
        )
    except Exception as error:  # the HTTP library below the hub client changes between its releases
        raise GpuwrightError.of(
            subject,
            f"{base} did not list it: {said(error)}",
            "a repository and revision that the control machine may read",
            "Check the name, HF_ENDPOINT, HF_TOKEN and the licence page of a gated model",
        ) from error
    files = []
    for sibling in info.siblings or []:
        if not any(fnmatchcase(sibling.rfilename, pattern) for pattern in source.include):
            continue
        digest = f"sha256:{sibling.lfs.sha256}" if sibling.lfs else f"git-sha1:{sibling.blob_id}"
        if sibling.size is None or info.sha is None or digest == "git-sha1:None":
            raise GpuwrightError.of(
                subject,
                f"{base} gives no size and digest for {sibling.rfilename}",
                "a hub that answers `?blobs=true`",
                "Use another HF_ENDPOINT",
            )
        url = f"{base}/{quote(source.repo)}/resolve/{info.sha}/{quote(sibling.rfilename)}"
        files.append(HubFile(sibling.rfilename, sibling.size, digest, url))
    if not files or info.sha is None:
        raise GpuwrightError.of(
            subject,
            f"none of its {len(info.siblings or [])} files matches {', '.join(source.include) or 'nothing'}",
            "at least one file",
            "Correct the model's include patterns",
        )
    return Listing(info.sha, tuple(sorted(files, key=lambda file: file.path)))


def said(error: Exception) -> str:
    """The first line of what the hub's client says, or what kind of error it is."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def endpoint() -> str:
    """The hub's address, read at call time: HF_ENDPOINT, or the public hub."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def token() -> str | None:
    """The hub's token, or None. It goes into requests only: never into a plan, argv, manifest or log."""
    return os.environ.get("HF_TOKEN") or None
