"""What the sizing answers: a layout with every term in bytes, and what it decodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["PASS", "TIGHT", "NO"]


@dataclass(frozen=True)
class Need:
    """What one GPU must hold, in bytes.

    `weights`; `cache` for all users; `workspace` is activations, compute buffers and graphs; `runtime` the driver's
    context and the collectives' buffers. `memory` is what the GPU has, `margin` what of it stays free for a PASS.
    """

    gpu: str
    weights: float
    cache: float
    workspace: float
    runtime: float
    memory: float
    margin: float

    @property
    def total(self) -> float:
        return self.weights + self.cache + self.workspace + self.runtime

    @property
    def free(self) -> float:
        return self.memory - self.total

    @property
    def verdict(self) -> Verdict:
        if self.free < 0:
            return "NO"
        return "PASS" if self.free >= self.margin else "TIGHT"


@dataclass(frozen=True)
class Layout:
    """How a model lies on GPUs: `tensor` parallel, in `pipeline` stages, or with its layers split where both are 1.

    `host` bytes are in RAM, with the experts of `host_layers` layers. `split` is how many layers each GPU has, the
    output counted as one. `step_s` is the time in which each user gets a token, in seconds; None where the GPUs'
    bandwidth is not known.
    """

    tensor: int
    pipeline: int
    needs: tuple[Need, ...]
    host: float = 0.0
    host_layers: int = 0
    split: tuple[int, ...] = ()
    step_s: float | None = None

    @property
    def verdict(self) -> Verdict:
        found = {need.verdict for need in self.needs}
        return "NO" if "NO" in found else "TIGHT" if "TIGHT" in found else "PASS"

    @property
    def short(self) -> str:
        """For a column: TP2 PP3, or layers."""
        if len(self.needs) == 1:
            text = "one"
        elif self.tensor == self.pipeline == 1:
            text = "layers"
        else:
            text = f"TP{self.tensor}" + (f" PP{self.pipeline}" if self.pipeline > 1 else "")
        return text + (f" +RAM {self.host_layers}" if self.host_layers else "")

    @property
    def label(self) -> str:
        """In the engines' words."""
        if len(self.needs) == 1:
            text = "one GPU"
        elif self.tensor == self.pipeline == 1:
            text = f"layer split over {len(self.needs)}"
        else:
            parts = [f"tensor parallel {self.tensor}"] if self.tensor > 1 else []
            parts += [f"pipeline parallel {self.pipeline}"] if self.pipeline > 1 else []
            text = ", ".join(parts)
        return text + (f", experts of {self.host_layers} layers in RAM" if self.host_layers else "")
