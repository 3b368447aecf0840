"""Reboots of one host at a time, whatever started them on this control machine: pyinfra, Ansible's forks, tests."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gpuwright.paths import state_dir

_LOOK_S = 2.0
_SAY_S = 60.0


@contextmanager
def turn(say: Callable[[str], None]) -> Iterator[None]:
    """Wait until no other host of this control machine reboots; the kernel ends the turn of a killed process."""
    path = state_dir() / "reboot.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        said = None
        while not _taken(stream.fileno()):
            if said is None or time.monotonic() - said > _SAY_S:
                say("waits: another host reboots")
                said = time.monotonic()
            time.sleep(_LOOK_S)  # not a blocking flock(2), which would stop every host of this process
        yield


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
