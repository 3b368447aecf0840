"""Role model_store: models on the host's disk, verified, each once."""

from pyinfra.api import deploy

from gpuwright.fleet import planned
from gpuwright.operations import models
from gpuwright.settings import ModelStoreSettings as Settings

__all__ = ["Settings", "model_store"]


@deploy("Model store")
def model_store() -> None:
    """Fetch the models that services use; models that nobody uses any more stay."""
    plan = planned().model_store
    models.stored(name="Models", models=plan.models, store=plan.directory)
