"""testinfra over the connection of a deploy, so that keys, known_hosts, jumps and sudo's password agree."""

from __future__ import annotations

from typing import Any

from testinfra.backend.base import BaseBackend, CommandResult

from gpuwright.connection import Connection

TIMEOUT_S = 120


class GpuwrightBackend(BaseBackend):
    """Every command runs as root over an open Connection."""

    NAME = "gpuwright"

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection.name)
        self._connection = connection
        self._encoding = "utf-8"  # else testinfra asks the host's Python, which a host need not have

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:
        command = self.get_command(command, *args)
        done = self._connection.run(command, timeout=TIMEOUT_S)
        return self.result(done.code, self.encode(command), done.stdout, done.stderr)
