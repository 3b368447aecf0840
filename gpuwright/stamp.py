"""What a deploy left on a host about itself: /etc/gpuwright/applied.json, as far as readers need it."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, fields

from gpuwright.connection import Connection
from gpuwright.errors import GpuwrightError

PATH = "/etc/gpuwright/applied.json"
DEFAULT_MODEL_STORE = "/var/lib/gpuwright/models"


@dataclass(frozen=True)
class StampedService:
    """A deployed service, with what is needed to find and to ask it."""

    name: str
    engine: str
    model: str
    port: int
    unit: str
    container: str
    image: str
    env_file: str
    conf_file: str
    key: str


@dataclass(frozen=True)
class Stamp:
    """The last deploy: the plan's digest, gpuwright's version, its services and where models lie."""

    plan_digest: str | None
    version: str | None
    services: tuple[StampedService, ...]
    model_store: str = DEFAULT_MODEL_STORE


def read(connection: Connection) -> Stamp:
    """The host's stamp; GpuwrightError when gpuwright never finished a deploy there."""
    result = connection.run(f"if [ -e {PATH} ]; then cat {PATH}; fi", timeout=30)
    if not result.ok:
        raise _damaged(connection.name, result.stderr.strip() or f"cat exits {result.code}")
    if not result.stdout.strip():
        raise never_deployed(connection.name)
    return parse(result.stdout, connection.name)


def parse(text: str, host: str) -> Stamp:
    """The stamp of `host` from its JSON text; GpuwrightError says what is missing. Unknown keys are fine."""
    try:
        data = json.loads(text)
        services = tuple(_service(item) for item in data["services"])
        store = data.get("model_store") or DEFAULT_MODEL_STORE
        digest, version = data.get("plan"), data.get("gpuwright")
    except (ValueError, TypeError, AttributeError) as error:
        raise _damaged(host, f"{type(error).__name__}: {error}") from error
    except KeyError as error:
        raise _damaged(host, f"lacks {error}") from error
    return Stamp(
        None if digest is None else str(digest),
        None if version is None else str(version),
        services,
        str(store),
    )


def never_deployed(host: str) -> GpuwrightError:
    """The answer for a host without a stamp."""
    return GpuwrightError.of(
        f"host {host}",
        f"was never deployed ({PATH} is missing)",
        "a finished deploy",
        f"Run `pyinfra INVENTORY deploy.py --limit {shlex.quote(host)}`.",
    )


def _service(item: dict[str, object]) -> StampedService:
    values = {field.name: item[field.name] for field in fields(StampedService)}
    port = int(str(values.pop("port")))
    return StampedService(port=port, **{name: str(value) for name, value in values.items()})


def _damaged(host: str, observed: str) -> GpuwrightError:
    return GpuwrightError.of(f"{PATH} on {host}", observed, "the file that a deploy writes", "Deploy again.")
