"""Settings: what an operator declares, with types, defaults and one clear answer to a typo.

Names are flat, `<role>_<key>`, in both engines: pyinfra replaces a dict-valued setting of a group by the host's
instead of merging it, so nothing that people override lives inside a dict.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.settings.gpus import (
    GpuRuntimeSettings,
    InterconnectSettings,
    KernelSettings,
    NvidiaDriverSettings,
    PowerSettings,
    RocmSettings,
)
from gpuwright.settings.host import BaseSettings, ContainerEngineSettings
from gpuwright.settings.kinds import Strict
from gpuwright.settings.serving import (
    InferenceSettings,
    ModelDeclaration,
    ModelStoreSettings,
    ServiceDeclaration,
)

__all__ = [
    "FIELDS",
    "MAY_HOLD_SECRETS",
    "ROLE_SETTINGS",
    "BaseSettings",
    "ContainerEngineSettings",
    "GpuRuntimeSettings",
    "HostSettings",
    "InferenceSettings",
    "InterconnectSettings",
    "KernelSettings",
    "ModelDeclaration",
    "ModelStoreSettings",
    "NvidiaDriverSettings",
    "PowerSettings",
    "RocmSettings",
    "ServiceDeclaration",
    "document_of",
    "read_settings",
]


@dataclass(frozen=True)
class HostSettings:
    """All settings of one host."""

    base: BaseSettings
    container_engine: ContainerEngineSettings
    kernel: KernelSettings
    nvidia_driver: NvidiaDriverSettings
    rocm: RocmSettings
    gpu_runtime: GpuRuntimeSettings
    interconnect: InterconnectSettings
    power: PowerSettings
    model_store: ModelStoreSettings
    inference: InferenceSettings


# What a person may by mistake have put a password into is never echoed.
MAY_HOLD_SECRETS = (("password",), ("base_proxy",), ("nvidia_driver_mirror",))

ROLE_SETTINGS: Mapping[str, type[Strict]] = {
    "base": BaseSettings,
    "container_engine": ContainerEngineSettings,
    "kernel": KernelSettings,
    "nvidia_driver": NvidiaDriverSettings,
    "rocm": RocmSettings,
    "gpu_runtime": GpuRuntimeSettings,
    "interconnect": InterconnectSettings,
    "power": PowerSettings,
    "model_store": ModelStoreSettings,
    "inference": InferenceSettings,
}

# Every setting by its name, whichever role it belongs to.
FIELDS: Mapping[str, FieldInfo] = {
    name: field for model in ROLE_SETTINGS.values() for name, field in model.model_fields.items()
}


def read_settings(data: Mapping[str, object]) -> HostSettings:
    """The settings among a host's data.

    Raises GpuwrightError with one refusal for each wrong value, and for each name that has a role's prefix, or
    looks like a setting, and is none.
    """
    refusals = list(_unknown(data))
    parts: dict[str, Any] = {}
    for role, model in ROLE_SETTINGS.items():
        try:
            parts[role] = model.model_validate({key: data[key] for key in model.model_fields if key in data})
        except ValidationError as error:
            refusals += [_wrong(role, detail) for detail in error.errors(include_url=False)]
    if refusals:
        raise GpuwrightError(*refusals)
    return HostSettings(**parts)


def _unknown(data: Mapping[str, object]) -> Iterator[Refusal]:
    for key in data:
        if key in FIELDS or key.startswith(("_", "ssh_")):
            continue
        ours = any(key.startswith(f"{role}_") for role in ROLE_SETTINGS)
        close = difflib.get_close_matches(key, FIELDS, n=1, cutoff=0.6 if ours else 0.85)
        if ours or close:
            hint = f"Did you mean {close[0]}?" if close else f"Settings are: {', '.join(FIELDS)}."
            yield Refusal(f"setting {key}", "no role has a setting of this name", "a known setting", hint)


def _wrong(role: str, detail: Mapping[str, Any]) -> Refusal:
    path = ".".join(str(part) for part in detail["loc"]) or f"{role} settings"
    given = detail.get("input")
    shown = isinstance(given, str | int | float | bool) and detail["loc"][-1:] not in MAY_HOLD_SECRETS
    observed = f"{given!r} " if shown else "the value "
    message = str(detail["msg"]).removeprefix("Value error, ").replace("a valid tuple", "a list")
    return Refusal(
        f"setting {path}",
        f"{observed}is not accepted",
        message,
        f"Correct it in the inventory or group_data; see {document_of(role)}.",
    )


def document_of(role: str) -> str:
    """Where a role's settings are described, from the root of the checkout."""
    return f"roles/{role}/README.md"
