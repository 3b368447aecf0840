"""Serving engines: one module each, with what the planner asks of an engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gpuwright.plan.model import Model
from gpuwright.plan.serving import custom, llama_cpp, vllm
from gpuwright.plan.serving.serving import Serving
from gpuwright.settings import ServiceDeclaration

__all__ = ["ENGINES", "Engine"]


class Engine(Protocol):
    """An engine module.

    `BUSY` is the metric of requests that are being answered, "" where there is none; `OUT_OF_MEMORY` an extended
    regular expression for its log; `CACHE` whether it wants a place to write that stays; `SHM_BYTES` the size of
    /dev/shm for one rank, 0 for Docker's own.
    """

    SOURCE: str
    BUSY: str
    OUT_OF_MEMORY: str
    CACHE: bool
    SHM_BYTES: int

    def key(self, declared: ServiceDeclaration) -> str:
        """The variable that holds its API key."""
        ...

    def refuses(self, declared: ServiceDeclaration, model: Model) -> tuple[str, str, str] | None:
        """Observed, required, remedy when the engine cannot serve what is declared; else None."""
        ...

    def environment(self, serving: Serving) -> tuple[tuple[str, str], ...]:
        """The engine's configuration as environment variables, without secrets."""
        ...

    def arguments(self, serving: Serving) -> tuple[str, ...]:
        """The words after the image, without those that are declared."""
        ...

    def rung(self, serving: Serving, context: int, batch: int, utilisation: int) -> tuple[str, ...]:
        """Words that give up memory: half the context and half the batch so often, and 5 % of the share so often."""
        ...


ENGINES: Mapping[str, Engine] = {"custom": custom, "llama_cpp": llama_cpp, "vllm": vllm}
