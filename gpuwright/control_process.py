"""This process, named so that a later one on the same control machine can tell whether it still runs."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path


def origin() -> str:
    """`<machine>:<pid>`; the machine is this boot's, and this container's: pids mean something only there."""
    return f"{_machine()}:{os.getpid()}"


def gone(origin: str) -> bool:
    """Whether the process `origin` ran on this machine, and ended. False where that cannot be known."""
    machine, _, pid = origin.partition(":")
    if not _machine() or machine != _machine() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:  # somebody else's
        return False
    return False


@cache
def _machine() -> str:
    """Hexadecimal digits, or nothing where this system has no such names (macOS)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        names = f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""
    return hashlib.sha256(names.encode()).hexdigest()[:12]
