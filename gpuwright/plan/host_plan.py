"""HostPlan: all slices of one host, with a reason for every value."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass

from gpuwright.plan.gpu_model import (
    CollectivesPlan,
    DriverPlan,
    FabricPlan,
    FirmwarePlan,
    Gpu,
    HoldsPlan,
    InterconnectPlan,
    KernelPlan,
    PowerPlan,
    RuntimePlan,
)
from gpuwright.plan.model import BasePlan, EnginePlan, InferencePlan, Json, ModelStorePlan, Reason
from gpuwright.plan.stack_model import DriverSteps, KernelSteps, RuntimeSteps


@dataclass(frozen=True)
class HostPlan:
    """All that one host gets. Equal facts and settings give an equal plan and an equal `digest`."""

    base: BasePlan
    container_engine: EnginePlan
    model_store: ModelStorePlan
    inference: InferencePlan
    gpus: tuple[Gpu, ...]
    kernel: KernelPlan
    drivers: tuple[DriverPlan, ...]
    firmware: FirmwarePlan
    fabric: FabricPlan
    runtimes: tuple[RuntimePlan, ...]
    interconnect: InterconnectPlan
    collectives: CollectivesPlan
    power: PowerPlan
    holds: HoldsPlan
    kernel_steps: KernelSteps
    nvidia_driver: DriverSteps
    rocm: DriverSteps
    gpu_runtime: RuntimeSteps
    why: Mapping[str, Reason] = field(compare=False)

    def leaves(self) -> Iterator[tuple[str, Json]]:
        """Every value with its path, for example `inference.services.0.port`."""
        for slice_field in fields(self):
            if slice_field.name != "why":
                yield from _leaves(slice_field.name, getattr(self, slice_field.name))

    def to_json(self) -> dict[str, Json]:
        """The slices as plain JSON, without the reasons."""
        slices = {part.name: getattr(self, part.name) for part in fields(self) if part.name != "why"}
        plain: dict[str, Json] = json.loads(json.dumps(slices, default=asdict))
        return plain

    @property
    def digest(self) -> str:
        """sha256 over the canonical JSON of the slices, in hex."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _leaves(path: str, value: object) -> Iterator[tuple[str, Json]]:
    if is_dataclass(value) and not isinstance(value, type):
        for part in fields(value):
            yield from _leaves(f"{path}.{part.name}", getattr(value, part.name))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _leaves(f"{path}.{index}", item)
    elif value is None or isinstance(value, bool | int | float | str):
        yield path, value
    else:
        raise TypeError(f"{path} holds a {type(value).__name__}; a plan holds scalars, tuples and slices")
