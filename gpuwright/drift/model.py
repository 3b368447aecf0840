"""Drift as data: per host and operation, with the verdict and the exit code that follow from it.

The JSON of `gpuwright drift --json`, schema 1; a later schema may add keys, and never changes these:

    {"schema": 1,
     "inventory": "inventories/lab.py",
     "hosts": [
       {"host": "cpu1",
        "status": "as_declared" | "differs" | "could_not_judge",
        "reasons": ["why it could not be judged", ...],           empty for the other two
        "operations": [
          {"role": "Base",                                        "" for what deploy.py does itself
           "operation": "Packages",
           "status": "ok" | "change" | "unknown",                 unknown: its reason is among the host's
           "details": ["curl: ...", ...],                         what it says under --diff, a line each
           "diffs": [{"path": "/etc/x", "diff": "--- ..."}],      unified, from the host's to the planned text
           "commands": ["systemctl enable --quiet x.service"]}]}],  shortened, to be read and not to be run
     "exit_code": 0 | 1 | 2}

Secrets are masked as `***` or `*MASKED*`. A host that could not be judged may have operations: those that could.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, cast

from gpuwright.plan.model import Json

SCHEMA = 1
AS_DECLARED, COULD_NOT_JUDGE, DIFFERS = 0, 1, 2

OperationStatus = Literal["ok", "change", "unknown"]
HostStatus = Literal["as_declared", "differs", "could_not_judge"]


@dataclass(frozen=True)
class FileDiff:
    """A unified diff, as plain text, from the file on the host to the planned one."""

    path: str
    diff: str


@dataclass(frozen=True)
class OperationDrift:
    """One operation on one host; `role` is "" for what deploy.py does itself."""

    role: str
    operation: str
    status: OperationStatus
    details: tuple[str, ...] = ()
    diffs: tuple[FileDiff, ...] = ()
    commands: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As pyinfra prints it: `Base | Packages`."""
        return f"{self.role} | {self.operation}" if self.role else self.operation

    @property
    def summary(self) -> tuple[str, ...]:
        """What it says, and the files that it would write; only where both are silent, its commands."""
        return (*self.details, *(f"change {diff.path}" for diff in self.diffs)) or self.commands


@dataclass(frozen=True)
class HostDrift:
    """One host; with any reason it could not be judged, whatever else is known about it."""

    host: str
    reasons: tuple[str, ...] = ()
    operations: tuple[OperationDrift, ...] = ()

    @property
    def status(self) -> HostStatus:
        """The worst that is known: a host of which a part is unknown is never as declared."""
        if self.reasons or not self.operations or any(each.status == "unknown" for each in self.operations):
            return "could_not_judge"
        return "differs" if any(each.status == "change" for each in self.operations) else "as_declared"

    def to_json(self) -> dict[str, Json]:
        """The host's part of the schema."""
        operations: list[Json] = [
            {
                **asdict(each),
                "details": list(each.details),
                "diffs": [asdict(diff) for diff in each.diffs],
                "commands": list(each.commands),
            }
            for each in self.operations
        ]
        return {
            "host": self.host,
            "status": self.status,
            "reasons": list(self.reasons),
            "operations": operations,
        }

    @classmethod
    def from_json(cls, given: object) -> HostDrift:
        """What `to_json` gave. Raises KeyError or TypeError for anything else."""
        host = cast(Mapping[str, object], given)
        return cls(
            cast(str, host["host"]),
            tuple(cast(list[str], host["reasons"])),
            tuple(_operation(each) for each in cast(list[Mapping[str, object]], host["operations"])),
        )


@dataclass(frozen=True)
class FleetDrift:
    """All hosts that were asked for, in the inventory's order."""

    inventory: str
    hosts: tuple[HostDrift, ...]

    @property
    def exit_code(self) -> int:
        """1 when any host could not be judged, else 2 when any differs, else 0."""
        statuses = {host.status for host in self.hosts}
        if not statuses or "could_not_judge" in statuses:
            return COULD_NOT_JUDGE
        return DIFFERS if "differs" in statuses else AS_DECLARED

    def to_json(self) -> dict[str, Json]:
        """The whole of the schema."""
        return {
            "schema": SCHEMA,
            "inventory": self.inventory,
            "hosts": [host.to_json() for host in self.hosts],
            "exit_code": self.exit_code,
        }


def _operation(given: Mapping[str, object]) -> OperationDrift:
    return OperationDrift(
        role=cast(str, given["role"]),
        operation=cast(str, given["operation"]),
        status=cast(OperationStatus, given["status"]),
        details=tuple(cast(list[str], given["details"])),
        diffs=tuple(FileDiff(**diff) for diff in cast(list[dict[str, str]], given["diffs"])),
        commands=tuple(cast(list[str], given["commands"])),
    )
