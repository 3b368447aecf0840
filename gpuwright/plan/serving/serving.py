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
        assert self.declared.context is not None  # the planner has put one there
        return self.declared.context

    @property
    def parallel(self) -> int:
        """Requests of that length at the same time."""
        return self.declared.parallel or 1

    @property
    def kv_type(self) -> str:
        """Of the cache, as the sizing calls it."""
        return "f16" if self.declared.kv_type == "auto" else self.declared.kv_type
