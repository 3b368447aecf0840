"""What a declared model is made of: as it was recorded or read, by the name of a shape, or from the catalogue."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace

from gpuwright.catalog import Catalog
from gpuwright.plan.notes import Notes
from gpuwright.plan.sizing.model import ModelFacts
from gpuwright.settings import HostSettings


def shape_of(
    name: str, settings: HostSettings, catalog: Catalog, recorded: Mapping[str, ModelFacts], notes: Notes
) -> ModelFacts | None:
    """The model's facts, in the format of its weights; None where nobody says them, or after a refusal was noted."""
    declared = next((m for m in settings.model_store.model_store_models if m.name == name), None)
    if declared is None:
        row = next((row for row in catalog.models if row.name == name), None)
        return _of_catalogue(row.shape, row.quantisation, catalog) if row else None
    found = recorded.get(name)
    if declared.shape is None:
        return replace(found, native=declared.quantisation) if found and declared.quantisation else found
    if found is not None:
        notes.refuse(
            f"model {name}",
            f"declares shape {declared.shape}, and {found.source or 'its own files'} say what it is made of",
            "one of both",
            "Remove shape from its declaration, or the recorded file.",
        )
        return None
    shape = _of_catalogue(declared.shape, declared.quantisation or "", catalog)
    if shape is None:
        names = [each for row in catalog.architectures for each in (row.name, *row.aliases)]
        close = difflib.get_close_matches(declared.shape, names, n=1)
        hint = f"Did you mean {close[0]}?" if close else "`gpuwright size --list` shows all."
        notes.refuse(f"model {name}", f"no shape is called {declared.shape}", "a known shape", hint)
    return shape


def _of_catalogue(name: str, quantisation: str, catalog: Catalog) -> ModelFacts | None:
    row = next((row for row in catalog.architectures if name in (row.name, *row.aliases)), None)
    if row is None:
        return None
    shape = ModelFacts.of(row)
    return replace(shape, native=quantisation) if quantisation else shape
