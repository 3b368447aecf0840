"""Facts of a model as a file: read once from a hub, kept beside the inventory, sized without a network ever after."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from gpuwright.errors import GpuwrightError
from gpuwright.models.hub import Listing
from gpuwright.plan.sizing.model import Experts, Latent, ModelFacts

_SCHEMA = 1


def write(path: Path, model: ModelFacts, repo: str, listing: Listing) -> None:
    """Write the model with the repository's commit and its files' sizes and digests."""
    document = {
        "schema": _SCHEMA,
        "repository": repo,
        "revision": listing.commit,
        "files": [{"path": file.path, "size": file.size, "digest": file.digest} for file in listing.files],
        "model": asdict(model),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def is_recorded(document: object) -> bool:
    """Whether a JSON document is one of ours."""
    return isinstance(document, dict) and "model" in document and "schema" in document


def parse(path: Path, document: dict[str, object]) -> ModelFacts:
    """The model of a recorded document. Raises GpuwrightError for another schema, or one that was cut."""
    values = document["model"]
    try:
        if document["schema"] != _SCHEMA or not isinstance(values, dict):
            raise ValueError(f"schema {document['schema']}")
        parts = dict(values)
        parts["experts"] = Experts(**parts["experts"]) if parts["experts"] else None
        parts["latent"] = Latent(**parts["latent"]) if parts["latent"] else None
        return ModelFacts(**parts)
    except (TypeError, KeyError, ValueError) as error:
        raise GpuwrightError.of(
            f"model {path}", f"cannot be read ({error})", "a model that --record wrote", "Record it again."
        ) from error
