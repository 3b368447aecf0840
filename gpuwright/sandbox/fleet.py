"""Which hosts a sandbox should have: names, releases, ports and who is asked for a password."""

from __future__ import annotations

import random
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ADDRESS = "127.0.0.1"
USER = "ops"

# Below the kernel's ephemeral range: nothing else takes a host's port while it restarts.
_PORTS = range(20000, 30000)


@dataclass(frozen=True)
class Slot:
    """A host to be made. `asks` means that its sudo wants a password."""

    name: str
    os: str
    asks: bool


def missing(count: int, releases: Sequence[str], existing: Sequence[str]) -> list[Slot]:
    """Slots for those of `count` hosts that do not exist yet.

    Releases are cycled over all positions. Of several hosts the last one's sudo asks for a password, so that
    both kinds are met in every run with two hosts; a host that exists keeps what it has.
    """
    names = [f"sbx{number}" for number in range(1, count + 1)]
    return [
        Slot(name, releases[position % len(releases)], asks=count > 1 and position == count - 1)
        for position, name in enumerate(names)
        if name not in existing
    ]


def password() -> str:
    """A random sudo password with characters that quoting mistakes would change."""
    return f"{secrets.token_hex(8)} $'\"\\!{secrets.token_hex(2)}"


def free_port(taken: set[int], is_free: Callable[[int], bool] | None = None) -> int:
    """A loopback port that nothing listens on and no other host of this sandbox has."""
    check = is_free or _can_bind
    candidates = random.sample(_PORTS, len(_PORTS))
    return next(port for port in candidates if port not in taken and check(port))


def _can_bind(port: int) -> bool:
    """Can a server listen there now?"""
    with socket.socket() as probe:
        try:
            probe.bind((ADDRESS, port))
        except OSError:
            return False
    return True
