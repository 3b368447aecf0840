"""Ports of services: free, or held by a service of ours. A stranger on one is named and left alone."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from pyinfra import host, logger
from pyinfra.api import FactBase, operation
from pyinfra.api.command import FunctionCommand, StringCommand
from typing_extensions import override

from gpuwright.errors import Refusal
from gpuwright.operations.shell import failure, fields, script
from gpuwright.operations.units import PREFIX
from gpuwright.plan.model import Service


@dataclass(frozen=True)
class Holder:
    """A process that listens where a service on 127.0.0.1 would; `container` and `unit` are "" where none is."""

    port: int
    pid: str
    program: str
    container: str
    unit: str

    def __str__(self) -> str:
        place = f"container {self.container}" if self.container else self.unit
        return f"{self.program} (pid {self.pid}{f', {place}' if place else ''})"


class PortHolders(FactBase[tuple[Holder, ...]]):
    """Who listens on `ports` at 127.0.0.1, or at all addresses; other addresses do not collide."""

    @override
    def command(self, ports: tuple[str, ...]) -> StringCommand:
        return script(
            """
            for port; do
                ss -Hltnp "sport = :$port" | while read -r state queue backlog local peer users; do
                    case "${local%:*}" in 127.0.0.1 | 0.0.0.0 | '*' | '[::ffff:127.0.0.1]') ;; *) continue ;; esac
                    pid=$(printf %s "$users" | sed -n 's/^[^,]*,pid=\\([0-9]*\\).*/\\1/p')
                    # The last id, of a host that is a container itself.
                    id=$(sed -n 's/.*\\([0-9a-f]\\{64\\}\\).*/\\1/p' "/proc/$pid/cgroup" 2>/dev/null | tail -n 1)
                    # By its unit's label: somebody may have renamed it.
                    label='{{or (index .Config.Labels "gpuwright.unit") .Name}}'
                    name=$(docker inspect --type container --format "$label" "$id" 2>/dev/null)
                    unit=$(sed -n 's#.*/\\([^/]*\\.service\\).*#\\1#p' "/proc/$pid/cgroup" 2>/dev/null | tail -n 1)
                    printf '%s\\t%s\\t%s\\t%s\\t%s\\n' "$port" "${pid:-unknown}" \\
                        "$(cat "/proc/$pid/comm" 2>/dev/null || echo a process)" "${name#/}" "$unit"
                done
            done
            """,
            *ports,
        )

    @override
    @staticmethod
    def default() -> tuple[Holder, ...]:
        return ()

    @override
    def process(self, output: list[str]) -> tuple[Holder, ...]:
        return tuple(Holder(int(port), *rest) for port, *rest in fields(output, 5))


@operation()
def free(services: tuple[Service, ...]) -> Generator[FunctionCommand]:
    """
    Refuse services whose port another process has, before anything of them is written.

    A container of ours may hold any of the ports: it is the service itself, or one that is about to be moved or
    removed. A dry run says it as well.

    + services: the declared ones
    """
    if not services:
        return
    strangers = {
        holder.port: holder
        for holder in host.get_fact(PortHolders, ports=tuple(str(service.port) for service in services))
        if not holder.container.startswith(PREFIX)
    }
    refusals = [_taken(service, strangers[service.port]) for service in services if service.port in strangers]
    if not refusals:
        host.noop("ports are free, or held by services of gpuwright")
        return
    if not host.state.is_executing:
        for refusal in refusals:
            host.log_styled(str(refusal), fg="red", log_func=logger.error)
    yield failure(*refusals)


def _taken(service: Service, holder: Holder) -> Refusal:
    return Refusal(
        f"port {service.port} of service {service.name}",
        f"{holder} listens there",
        "a free port on 127.0.0.1",
        "Stop that program, or give the service another port in inference_services.",
    )
