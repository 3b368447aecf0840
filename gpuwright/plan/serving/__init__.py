"""Serving engines: one module each, with what the planner asks of an engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gpuwright.plan.model import Model
from gpuwright.plan.serving import llama_cpp
from gpuwright.settings import ServiceDeclaration

__all__ = ["ENGINES", "Engine"]


class Engine(Protocol):
    """An engine module. `KEY` is the variable that holds its API key."""

    KEY: str
    SOURCE: str

    def refuses(self, model: Model) -> tuple[str, str, str] | None:
        """Observed, required, remedy when the engine cannot open this model; else None."""
        ...

    def environment(
        self, service: ServiceDeclaration, model: Model, port: int
    ) -> tuple[tuple[str, str], ...]:
        """The engine's configuration as environment variables, without secrets."""
        ...


ENGINES: Mapping[str, Engine] = {"llama_cpp": llama_cpp}
