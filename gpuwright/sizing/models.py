"""A model's facts: from the catalogue, a config.json, or the header of a GGUF file."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

from gpuwright import catalog
from gpuwright.errors import GpuwrightError
from gpuwright.plan.sizing.model import ModelFacts
from gpuwright.sizing import gguf_file
from gpuwright.sizing.huggingface import from_config


def names() -> list[tuple[str, tuple[str, ...], int]]:
    """Name, other names, and number of parameters of each model that the catalogue knows."""
    return [(row.name, row.aliases, row.parameters) for row in catalog.load().architectures]


def find(text: str) -> ModelFacts:
    """The model behind a name or a path. Raises GpuwrightError where there is none, or not enough is said of it."""
    path = Path(text)
    if path.suffix == ".gguf":
        return _gguf(path)
    if path.is_dir() or path.suffix == ".json":
        return _config(path / "config.json" if path.is_dir() else path)
    known = {name: row for row in catalog.load().architectures for name in (row.name, *row.aliases)}
    if text.lower() in known:
        return ModelFacts.of(known[text.lower()])
    close = difflib.get_close_matches(text.lower(), known, n=3)
    hint = f"Did you mean {' or '.join(close)}?" if close else "`gpuwright size --list` shows all."
    raise GpuwrightError.of(
        f"model {text}",
        "no model of this name, and no such file",
        "a name, a config.json or its directory",
        hint,
    )


def _gguf(path: Path) -> ModelFacts:
    try:
        return gguf_file.read(path)
    except OSError as error:
        raise GpuwrightError.of(
            f"model {path}", error.strerror or str(error), "a GGUF file to read", "Check the path."
        ) from error


def _config(path: Path) -> ModelFacts:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GpuwrightError.of(
            f"model {path}", error.strerror or str(error), "a config.json to read", "Check the path."
        ) from error
    except ValueError as error:
        raise GpuwrightError.of(
            f"model {path}", f"is no JSON ({error})", "a config.json", "Get it again."
        ) from error
    if not isinstance(document, dict):
        raise GpuwrightError.of(f"model {path}", "is no JSON object", "a config.json", "Get it again.")
    return from_config(path.absolute().parent.name, document)
