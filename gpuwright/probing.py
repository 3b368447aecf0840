"""The probe over an open connection."""

from __future__ import annotations

from gpuwright.connection import Connection
from gpuwright.facts import HostFacts, parse
from gpuwright.facts.read import probe_script

PROBE_S = 60


def probe(connection: Connection) -> HostFacts:
    """What a host is now, in one round trip. GpuwrightError where it cannot be read."""
    return parse(connection.run(probe_script(), timeout=PROBE_S).stdout)
