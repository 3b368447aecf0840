"""What an engine's module is asked about: one service, with its GPUs and its layout on them."""

from __future__ import annotations

from dataclasses import dataclass

from gpuwright.plan.model import Model
from gpuwright.plan.peers import Card
from gpuwright.plan.sizing import Request
from gpuwright.plan.sizing.result import Layout
from gpuwright.settings import ServiceDeclaration

# Where an engine may write: on the host, and inside its container.
CACHE = "/var/cache/gpuwright"
HOME = "/cache"


@dataclass(frozen=True)
class Serving:
    """A service that is about to be planned.

    `variant` is the image's (cpu, cuda13, rocm); `request` and `layout` are what was sized, None where nobody knows the
    model's shape. `fabric`: its GPUs reach each other over NVLink or xGMI, which needs no proof.
    """

    declared: ServiceDeclaration
    model: Model
    variant: str
    port: int
    cards: tuple[Card, ...]
    request: Request | None
    layout: Layout | None
    fabric: bool

    @property
    def ranks(self) -> int:
        """Processes that talk to each other: GPUs of the service, or what is declared for a CPU."""
        return len(self.cards) or self.declared.tensor_parallel or 1

    @property
    def context(self) -> int:
        """Tokens of the longest request."""
        return context_of(self.declared)

    @property
    def parallel(self) -> int:
        """Requests of that length at the same time."""
        return parallel_of(self.declared)

    @property
    def kv_type(self) -> str:
        """Of the cache, as the sizing calls it."""
        return kv_type_of(self.declared)


def context_of(declared: ServiceDeclaration) -> int:
    """Tokens of the longest request; the planner has put some where none were declared."""
    assert declared.context is not None
    return declared.context


def parallel_of(declared: ServiceDeclaration) -> int:
    """Requests of that length that must fit."""
    return declared.parallel or 1


def kv_type_of(declared: ServiceDeclaration) -> str:
    """Of the cache, as the sizing calls it."""
    return "f16" if declared.kv_type == "auto" else declared.kv_type
