"""Facts put aside: what a plan would be if this machine's pid 1 were systemd, or if no driver were there.

For machines that lend their GPUs but cannot be provisioned. As a pytest plugin (`-p bench.device.aside`) it does the
same for tests/acceptance. GPUWRIGHT_ASIDE says what: init, or init,driver.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from gpuwright.facts import HostFacts

if TYPE_CHECKING:
    from gpuwright.connection import Connection

VARIABLE = "GPUWRIGHT_ASIDE"


def put_aside(facts: HostFacts, what: str) -> HostFacts:
    """The facts with what is named in `what`, words with commas between, as a host to be provisioned has it."""
    words = what.split(",")
    if "init" in words:
        facts = replace(facts, init="systemd")
    if "driver" in words:
        facts = replace(facts, found=replace(facts.found, drivers=()))
    return facts


def pytest_configure() -> None:
    """Let the acceptance tests plan with the facts put aside."""
    from gpuwright.verify import host  # and with it pyinfra, which not every machine has

    host.probe = _probe  # type: ignore[attr-defined]


def _probe(connection: Connection) -> HostFacts:
    from gpuwright.probing import probe

    return put_aside(probe(connection), os.environ[VARIABLE])
