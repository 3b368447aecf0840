"""What is asked of the sizing: a model in a format, on GPUs, for a number of users."""

from __future__ import annotations

from dataclasses import dataclass

from gpuwright.catalog.gpus import GpuRow
from gpuwright.plan.sizing.model import ModelFacts


@dataclass(frozen=True)
class Request:
    """`context` tokens for each of `users` at the same time; `host_bytes` is the machine's memory, None if unknown.

    `batch` tokens are what vLLM's profile run has at once (--max-num-batched-tokens), 0 for its default on the card.
    """

    model: ModelFacts
    engine: str
    quantisation: str
    gpus: tuple[GpuRow, ...]
    context: int
    users: int
    kv_type: str
    host_bytes: int | None = None
    utilisation: float = 0.92
    batch: int = 0
