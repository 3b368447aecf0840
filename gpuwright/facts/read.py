"""The probe's text, as every door to a host runs it: `sh -c TEXT`, as root where the whole of it is wanted."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def probe_script() -> str:
    """A POSIX sh script; what it prints is for `parse`."""
    return (files("gpuwright.facts") / "probe.sh").read_text(encoding="utf-8")
