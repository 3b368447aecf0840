"""Model files in the store of a host."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import FunctionCommand, Host, QuoteString, State, StringCommand, operation
from pyinfra.api.command import PyinfraCommand

from gpuwright.errors import GpuwrightError
from gpuwright.models import manifest
from gpuwright.models.reading import ModelStore, StoreReading
from gpuwright.models.remote import Remote
from gpuwright.models.sources import source_of
from gpuwright.models.store import store as store_models
from gpuwright.operations.shell import failed, show, will_change
from gpuwright.plan.model import Model


@operation()
def stored(models: tuple[Model, ...], store: str) -> Generator[PyinfraCommand]:
    """Have every model below its directory: whole, verified by digest, stored once, readable by containers.

    What is there already is not transferred again, and what was cut off is resumed. What somebody wrote to is read
    again, and fetched again where its content is another one. Models that are no longer declared stay.

    + models: the models; none is a no-op that reads nothing
    + store: the directory that holds the models' directories
    """
    if not models:
        return
    store = store.rstrip("/")
    reading = host.get_fact(ModelStore, directories=tuple(model.directory for model in models), store=store)
    pending = tuple(model for model in models if not _converged(model, reading))
    if pending:
        will_change(*(f"{model.directory}/{manifest.NAME}" for model in pending))
        show(*(f"{model.name}: {_why(model, reading)}" for model in pending))
        yield FunctionCommand(_store, (pending, store, _listed(reading)), {})
    elif reading.partials:
        # All that is declared is complete, so nothing can want these any more.
        leftovers = [QuoteString(f"{store}/.partial/{name}") for name in reading.partials]
        yield StringCommand("rm", "-f", *leftovers)
    else:
        host.noop("all models are stored")


def _converged(model: Model, reading: StoreReading) -> bool:
    try:
        source = source_of(model)
    except GpuwrightError:
        # A plan must not fail; the transfer says for this host alone what is missing.
        source = None
    text = reading.manifests.get(model.directory)
    return manifest.converged(text, source, model.directory, reading.files) and not _exposed(model, reading)


def _exposed(model: Model, reading: StoreReading) -> list[str]:
    return [path for path in reading.exposed if f"{path}/".startswith(f"{model.directory}/")]


def _why(model: Model, reading: StoreReading) -> str:
    """What is wrong with the files that are there, else where they will come from."""
    known = manifest.parse(reading.manifests.get(model.directory))
    reasons = [f"permissions of {path}" for path in _exposed(model, reading)]
    if known is not None:
        gone = manifest.missing(known, model.directory, reading.files)
        touched = manifest.touched(known, model.directory, reading.files)
        reasons += [f"{path} is missing or cut" for path in gone]
        reasons += [f"{path} was written to after it was verified" for path in touched if path not in gone]
    return "; ".join(reasons[:3]) or f"from {type(model.source).__name__}"


def _listed(reading: StoreReading) -> dict[str, tuple[str, ...]]:
    """The files that each manifest lists, by directory: those that a new source lacks will be removed."""
    known = {directory: manifest.parse(text) for directory, text in reading.manifests.items()}
    return {
        directory: tuple(file.path for file in found.files) for directory, found in known.items() if found
    }


def _store(
    state: State, host: Host, models: tuple[Model, ...], store: str, previous: dict[str, tuple[str, ...]]
) -> bool:
    try:
        store_models(Remote(host, state, store), models, previous)
    except GpuwrightError as error:
        return failed(state, host, error.refusals)
    return True
