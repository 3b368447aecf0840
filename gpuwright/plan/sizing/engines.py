"""The engines that sizing knows: one module each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from gpuwright.plan.sizing import llama_cpp, vllm
from gpuwright.plan.sizing.request import Request
from gpuwright.plan.sizing.result import Layout


class Engine(Protocol):
    """What the sizing asks of an engine's module; FORMATS are those of weights that it reads, KV_TYPES of the cache."""

    FORMATS: tuple[str, ...]
    KV_TYPES: tuple[str, ...]

    def layouts(self, request: Request) -> Iterator[Layout]:
        """Every way in which the engine can lay the model on the GPUs."""
        ...

    def flags(self, request: Request, layout: Layout) -> tuple[str, ...]:
        """What makes it do so."""
        ...


ENGINES: Mapping[str, Engine] = {"llama_cpp": llama_cpp, "vllm": vllm}
