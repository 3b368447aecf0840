"""Images of inference engines: engines.toml."""

from __future__ import annotations

from typing import Literal

from gpuwright.catalog.row import Row


class IdleRow(Row):
    """A variable that keeps an idle engine from drawing power; `driver` is the oldest branch that knows it."""

    vendor: Literal["nvidia", "amd"]
    variable: str
    value: str
    driver: str = ""


class EngineRow(Row):
    """An engine's image by digest, for one kind of processor.

    `variant` is cpu, cuda12, cuda13, rocm or vulkan; `vendor` the one whose GPUs it runs on, "" for none or any.
    `targets` are what it is compiled for (sm_89, gfx942); empty: whatever there is. `driver` is the oldest branch of
    NVIDIA's driver that runs those, "" where it needs none. `jit` are those that compile its PTX at their first start,
    for which `jit_driver` is the oldest: minor-version compatibility leaves PTX out. `version` is the engine's own.
    """

    name: Literal["llama_cpp", "vllm"]
    variant: Literal["cpu", "cuda12", "cuda13", "rocm", "vulkan"]
    vendor: Literal["", "nvidia", "amd"] = ""
    image: str
    tag: str
    version: str
    architectures: tuple[str, ...]
    driver: str = ""
    targets: tuple[str, ...] = ()
    jit: tuple[str, ...] = ()
    jit_driver: str = ""
