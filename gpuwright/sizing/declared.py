"""What the declared models of a host are made of, as far as files on the control machine say it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from gpuwright import locks
from gpuwright.errors import GpuwrightError
from gpuwright.models import cache
from gpuwright.plan.model import LocalFile
from gpuwright.plan.sizing.model import ModelFacts, impossible
from gpuwright.settings import HostSettings, ModelDeclaration
from gpuwright.sizing import gguf_file, recorded

FOLDER = "models"
_COMMIT = re.compile(r"[0-9a-f]{40}")


def shapes(settings: HostSettings, folder: Path | None) -> dict[str, ModelFacts]:
    """By the name that they are declared by: of <name>.json in `folder`, or of the header of a GGUF file that is here.

    Raises GpuwrightError for a file that is damaged, or that says otherwise than the declaration.
    """
    used = {service.model for service in settings.inference.inference_services}
    used.add(settings.inference.inference_model)
    found = {}
    for model in settings.model_store.model_store_models:
        shape = _shape(model, folder) if model.name in used else None
        if shape is not None:
            found[model.name] = shape
    return found


def folder_of(data: Mapping[str, object], source: Path | None = None) -> Path | None:
    """Where models are recorded: beside the folder of a host's locks, which lies beside its inventory `source`."""
    locked = data.get(locks.DATUM) or (locks.beside(source) if source else None)
    return Path(str(locked)).parent / FOLDER if locked else None


def _shape(model: ModelDeclaration, folder: Path | None) -> ModelFacts | None:
    path = folder / f"{model.name}.json" if folder else None
    if path is not None and path.exists():
        return _recorded(path, model)
    if model.path is not None and model.path.endswith(".gguf") and model.shape is None:
        try:
            return gguf_file.read(cache.local_file(LocalFile(model.path, model.sha256)))
        except GpuwrightError:
            # A plan must not fail; the transfer says for this host alone what is wrong with the file.
            return None
    return None


def _recorded(path: Path, model: ModelDeclaration) -> ModelFacts:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if not recorded.is_recorded(document):
            raise ValueError("not one that --record wrote")
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    shape = recorded.parse(path, document)
    if wrong := impossible(shape):
        raise _damaged(path, wrong)
    for what, here, there in (
        ("repository", model.repo, document.get("repository")),
        ("revision", model.revision, document.get("revision")),
    ):
        # A branch or tag may well lead to the commit that was recorded.
        comparable = what == "repository" or (here is not None and _COMMIT.fullmatch(here))
        if here is not None and comparable and here != there:
            raise GpuwrightError.of(
                f"model {model.name}",
                f"{path.name} was recorded of {what} {there}",
                f"{here}, as declared",
                f"Record it again: gpuwright size {model.repo} --record {path}.",
            )
    return shape


def _damaged(path: Path, observed: str) -> GpuwrightError:
    return GpuwrightError.of(
        f"model {path}", observed, "the file that `gpuwright size --record` wrote", "Record it again."
    )
