"""From a model's declared source to files: where each one is, how long, and by which digest it is known."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from gpuwright.errors import GpuwrightError
from gpuwright.models import cache, gguf, hub
from gpuwright.models.manifest import NAME, Source, canonical
from gpuwright.plan.model import HttpsFile, HuggingFaceRepo, LocalFile, Model, WheelFile


@dataclass(frozen=True)
class ModelFile:
    """One file to store at `path` below the model's directory.

    `where` is a Path on the control machine (uploaded) or a URL (downloaded by the host); `size` in bytes is
    None where only the server knows; `digest` is `sha256:` or `git-sha1:` and hex digits; `hub` marks the
    URLs that the hub's token is for.
    """

    path: str
    size: int | None
    digest: str
    where: Path | str
    hub: bool = False

    @property
    def key(self) -> str:
        """The digest's hex digits: the name of the content in the store."""
        return self.digest.partition(":")[2]

    @property
    def shown(self) -> str:
        """Where it comes from, for people: a URL loses its user and its query, which may be secrets."""
        if isinstance(self.where, Path):
            return str(self.where)
        parts = urlsplit(self.where)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


@dataclass(frozen=True)
class Resolved:
    """A model with its files; `source` is the canonical JSON that the manifest will carry."""

    model: Model
    source: str
    files: tuple[ModelFile, ...]
    commit: str | None = None


def resolve(model: Model) -> Resolved:
    """Find the files of `model`; may run pip or ask the hub.

    Raises GpuwrightError where the source cannot be had or does not hold what the engine opens.
    """
    source = model.source
    if isinstance(source, HuggingFaceRepo):
        listing = hub.listing(source)
        files = tuple(ModelFile(f.path, f.size, f.digest, f.url, hub=True) for f in listing.files)
        _check(model, files)
        return Resolved(model, source_of(model), files, listing.commit)
    if isinstance(source, HttpsFile):
        file = ModelFile(_single(model), None, f"sha256:{source.sha256.lower()}", source.url)
    else:
        path = cache.local_file(source) if isinstance(source, LocalFile) else cache.wheel_file(source)
        if isinstance(source, LocalFile) and _single(model).endswith(".gguf"):
            gguf.check(path)  # the other sources are known by a digest
        file = ModelFile(_single(model), path.stat().st_size, f"sha256:{cache.sha256(path)}", path)
    if isinstance(source, LocalFile) and source.sha256 not in (None, file.key):
        raise GpuwrightError.of(
            f"model file {source.path}",
            f"its sha256 is {file.key}",
            f"{source.sha256}, as declared",
            "Get the right file, or correct sha256.",
        )
    _check(model, (file,))
    return Resolved(model, source_of(model), (file,))


def source_of(model: Model) -> str:
    """The canonical JSON by which a manifest knows where a model came from.

    A local file is known by its content, not by its path on one administrator's machine. Raises
    GpuwrightError where a local file is missing.
    """
    source = model.source
    if isinstance(source, HuggingFaceRepo):
        return canonical({"kind": "huggingface", **asdict(source), "include": list(source.include)})
    facts: Source
    if isinstance(source, LocalFile):
        facts = {"kind": "local", "sha256": source.sha256 or cache.sha256(cache.local_file(source))}
    elif isinstance(source, WheelFile):
        facts = {"kind": "wheel", **asdict(source)}
    else:
        # By content alone: a URL may hold a user or a signature, and a renewed one is the same file.
        facts = {"kind": "https", "sha256": source.sha256}
    return canonical({**facts, "file": _single(model)})


def _single(model: Model) -> str:
    """The name of a one-file model: what the engine opens; where that is the directory, the source's own."""
    entry = _entry(model)
    if entry:
        return entry
    source = model.source
    if isinstance(source, HttpsFile):
        return PurePosixPath(urlsplit(source.url).path).name
    if isinstance(source, WheelFile):
        return PurePosixPath(source.member).name
    return PurePosixPath(source.path).name if isinstance(source, LocalFile) else ""


def _entry(model: Model) -> str:
    """The entry relative to the directory; empty where the engine opens the directory itself."""
    if model.entry.rstrip("/") == model.directory.rstrip("/"):
        return ""
    if not model.entry.startswith(f"{model.directory.rstrip('/')}/"):
        raise GpuwrightError.of(
            f"model {model.name}",
            f"the engine opens {model.entry}",
            f"a path below {model.directory}",
            "Correct the model's entry",
        )
    return model.entry.removeprefix(f"{model.directory.rstrip('/')}/")


def _check(model: Model, files: tuple[ModelFile, ...]) -> None:
    for file in files:
        parts = file.path.split("/")
        if not file.path.isprintable() or not {"", ".", "..", NAME}.isdisjoint(parts):
            raise GpuwrightError.of(
                f"model {model.name}",
                f"its source names a file {file.path!r}",
                f"a relative path without empty parts, `..`, control characters or {NAME}",
                "Use another source",
            )
        # The digits name a file in the store, and a hub's word is not trusted with a path.
        if len(file.key) not in (40, 64) or not set(file.key) <= set("0123456789abcdef"):
            raise GpuwrightError.of(
                f"model {model.name}",
                f"{file.path} has the digest {file.digest!r}",
                "64 hex digits of a sha256, or 40 of a git sha1",
                "Correct the source",
            )
        if isinstance(file.where, str):
            _check_url(model, file)
    entry = _entry(model)
    if entry and not any(file.path == entry or file.path.startswith(f"{entry}/") for file in files):
        raise GpuwrightError.of(
            f"model {model.name}",
            f"the engine opens {entry}, which is not among {', '.join(file.path for file in files[:8])}",
            "an entry that the source holds",
            "Correct the model's entry or its include patterns",
        )


def _check_url(model: Model, file: ModelFile) -> None:
    # A private hub may be plain HTTP inside a rack; what it sends is verified by digest all the same.
    schemes = ("https", "http") if file.hub else ("https",)
    url = str(file.where)
    if not url.isprintable() or " " in url or urlsplit(url).scheme not in schemes or not urlsplit(url).netloc:
        raise GpuwrightError.of(
            f"model {model.name}",
            f"its URL is {file.shown}",
            f"a URL of {' or '.join(schemes)}",
            "Correct the URL",
        )
