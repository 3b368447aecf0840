"""Seconds per host and role of a run: shown when it ends, and kept for `bin/demo`."""

from __future__ import annotations

import atexit
import json
import time
from dataclasses import dataclass, field

from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import BaseStateCallback, State
from typing_extensions import override

from gpuwright.paths import state_dir

FILE = "timings.json"


def measure(state: State) -> None:
    """Measure the operations of this run; called once per host, it registers once."""
    if not any(isinstance(handler, RoleClock) for handler in state.callback_handlers):
        clock = RoleClock()
        state.add_callback_handler(clock)
        atexit.register(clock.report)


@dataclass
class RoleClock(BaseStateCallback):
    """Adds up each host's own time in each role; hosts run the same operation at the same time."""

    seconds: dict[str, dict[str, float]] = field(default_factory=dict)
    _began: dict[tuple[str, str], float] = field(default_factory=dict)

    @override
    def operation_host_start(self, state: State, host: Host, op_hash: str) -> None:  # type: ignore[override]
        self._began[host.name, op_hash] = time.monotonic()

    @override
    def operation_host_success(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str, retry_count: int = 0
    ) -> None:
        self._add(state, host, op_hash)

    @override
    def operation_host_error(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        self._add(state, host, op_hash)

    def _add(self, state: State, host: Host, op_hash: str) -> None:
        name = next(iter(state.get_op_meta(op_hash).names))
        role = name.partition(" | ")[0]  # "Base | Packages", as pyinfra joins a deploy and its operation
        roles = self.seconds.setdefault(host.name, {})
        roles[role] = roles.get(role, 0.0) + time.monotonic() - self._began[host.name, op_hash]

    def report(self) -> None:
        """One line per host, and the same as JSON in the state directory."""
        if not self.seconds:
            return
        logger.info("--> Seconds by role:")
        for host, roles in sorted(self.seconds.items()):
            logger.info(f"    [{host}] " + ", ".join(f"{role} {spent:.1f}" for role, spent in roles.items()))
        rounded = {
            host: {role: round(s, 3) for role, s in roles.items()} for host, roles in self.seconds.items()
        }
        directory = state_dir()
        directory.mkdir(parents=True, exist_ok=True)
        (directory / FILE).write_text(json.dumps(rounded, indent=1), encoding="utf-8")
