"""Hosts that a run leaves out, and why: said at once, and again when the run ends, where people look."""

from __future__ import annotations

import atexit

from pyinfra import logger

from gpuwright.errors import Refusal

REFUSED = "Refused hosts, nothing was changed on them:"
UNREACHABLE = "Hosts that could not be reached:"

_hosts: dict[str, dict[str, tuple[Refusal, ...]]] = {}


def remember(heading: str, name: str, refusals: tuple[Refusal, ...]) -> None:
    """Print `refusals` of host `name` below `heading` at the end of the process."""
    if not _hosts:
        atexit.register(_print)
    _hosts.setdefault(heading, {})[name] = refusals


def _print() -> None:
    for heading, hosts in _hosts.items():
        logger.error(f"--> {heading}")
        for name, refusals in sorted(hosts.items()):
            for refusal in refusals:
                logger.error(f"    [{name}] {refusal}")
