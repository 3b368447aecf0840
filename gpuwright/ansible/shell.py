"""A root shell on one host, whoever opened it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Ran:
    """What a command gave: its exit code and both outputs."""

    code: int
    stdout: str
    stderr: str


class Shell(Protocol):
    """A root shell on one host."""

    def run(self, command: str, stdin: bytes = b"") -> Ran:
        """Run one POSIX sh command line to its end. Raises OSError where the host is lost."""


def command(script: str, *arguments: str) -> str:
    """A POSIX sh script as one command line; its values arrive as $1, $2 ..."""
    return " ".join(["sh", "-c", *map(shlex.quote, (script, "sh", *arguments))])
