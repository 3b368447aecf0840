"""The stamp: what was applied last. Written last, so that it never says more than what is true."""

from __future__ import annotations

import json
from collections.abc import Generator

from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand

from gpuwright import __version__
from gpuwright.operations.files import write
from gpuwright.plan import HostPlan
from gpuwright.stamp import PATH

SCHEMA = 1
# What `ask`, `status` and later runs need to find a service; its whole configuration is in its own files.
SERVICE_KEYS = (
    "name",
    "engine",
    "variant",
    "model",
    "image",
    "port",
    "unit",
    "container",
    "conf_file",
    "env_file",
    "key",
)


@operation()
def applied(plan: HostPlan) -> Generator[PyinfraCommand]:
    """
    Record the plan's digest and its services; no value in it differs on a second run.

    + plan: the plan whose roles have run before this
    """
    stamp = {
        "schema": SCHEMA,
        "gpuwright": __version__,
        "plan": plan.digest,
        "model_store": plan.model_store.directory,
        "models": [model.name for model in plan.model_store.models],
        "services": [
            {name: getattr(service, name) for name in SERVICE_KEYS} for service in plan.inference.services
        ],
    }
    yield from write({PATH: (json.dumps(stamp, indent=1, sort_keys=True) + "\n", "0644")})
