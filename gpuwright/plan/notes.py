"""Notes taken while planning: the reason for each value, and the refusals."""

from __future__ import annotations

from collections.abc import Iterable

from gpuwright.errors import Refusal
from gpuwright.plan.model import Reason


class Notes:
    """Collects reasons by path prefix and refusals; a planner never stops at its first refusal."""

    def __init__(self) -> None:
        self.refusals: list[Refusal] = []
        self._reasons: dict[str, Reason] = {}

    def why(self, path: str, reason: str, source: str) -> None:
        """The reason for the value at `path`, or for all below it that have none of their own."""
        self._reasons[path] = Reason(reason, source)

    def refuse(self, subject: str, observed: str, required: str, remedy: str) -> None:
        """One reason why this host gets no plan."""
        self.refusals.append(Refusal(subject, observed, required, remedy))

    def explain(self, paths: Iterable[str]) -> dict[str, Reason]:
        """The reason of every path, from its longest known prefix. Raises KeyError for a path without one."""
        return {path: self._nearest(path) for path in paths}

    def _nearest(self, path: str) -> Reason:
        prefix = path
        while prefix:
            if prefix in self._reasons:
                return self._reasons[prefix]
            prefix = prefix.rpartition(".")[0]
        raise KeyError(f"no reason noted for {path}")
