"""A model's facts: from the catalogue, a file that was recorded, a config.json, a GGUF file, or a hub."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

from gpuwright import catalog
from gpuwright.errors import GpuwrightError
from gpuwright.plan.sizing.model import ModelFacts, impossible
from gpuwright.sizing import gguf_file, recorded, repository
from gpuwright.sizing.huggingface import from_config


def names() -> list[tuple[str, tuple[str, ...], int]]:
    """Name, other names, and number of parameters of each model that the catalogue knows."""
    return [(row.name, row.aliases, row.parameters) for row in catalog.load().architectures]


def find(text: str, record: Path | None = None) -> ModelFacts:
    """The model behind a name, a path or a hub's repository; one of a hub is written to the file `record` as well.

    Raises GpuwrightError where there is none, not enough is said of it, or what is said cannot be.
    """
    model = _find(text, record)
    if wrong := impossible(model):
        remedy = "Get its config.json, header or record again."
        raise GpuwrightError.of(f"model {text}", wrong, "the shape of a transformer", remedy)
    return model


def _find(text: str, record: Path | None) -> ModelFacts:
    path = Path(text)
    if record is not None and (path.exists() or repository.reference(text) is None):
        raise GpuwrightError.of(
            f"model {text}",
            "is not on a hub",
            "ORG/NAME with --record",
            "Leave --record away: it is here already.",
        )
    if path.suffix == ".gguf" and ":" not in text:
        return _gguf(path)
    if path.is_dir() or path.suffix == ".json":
        return _json(path / "config.json" if path.is_dir() else path)
    known = {name: row for row in catalog.load().architectures for name in (row.name, *row.aliases)}
    if text.lower() in known:
        return ModelFacts.of(known[text.lower()])
    if wanted := repository.reference(text):
        model, listing = repository.read(wanted)
        if record is not None:
            recorded.write(record, model, wanted.repo, listing)
        return model
    close = difflib.get_close_matches(text.lower(), known, n=3)
    hint = f"Did you mean {' or '.join(close)}?" if close else "`gpuwright size --list` shows all."
    required = "a name, ORG/NAME of a hub, a .gguf file, a config.json or its directory"
    raise GpuwrightError.of(f"model {text}", "no model of this name, and no such file", required, hint)


def _gguf(path: Path) -> ModelFacts:
    try:
        return gguf_file.read(path)
    except OSError as error:
        raise GpuwrightError.of(
            f"model {path}", error.strerror or str(error), "a GGUF file to read", "Check the path."
        ) from error


def _json(path: Path) -> ModelFacts:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GpuwrightError.of(
            f"model {path}", error.strerror or str(error), "a config.json to read", "Check the path."
        ) from error
    except (ValueError, RecursionError) as error:
        raise GpuwrightError.of(
            f"model {path}", f"is no JSON ({error})", "a config.json", "Get it again."
        ) from error
    if recorded.is_recorded(document):
        return recorded.parse(path, document)
    if not isinstance(document, dict):
        raise GpuwrightError.of(f"model {path}", "is no JSON object", "a config.json", "Get it again.")
    return from_config(path.absolute().parent.name, document)
