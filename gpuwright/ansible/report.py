"""What a task of Ansible's gives back: operations with what became of each, differences, and one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from gpuwright.drift.mask import mask_text
from gpuwright.drift.model import FileDiff

# maybe: it is decided only when the run gets there. unknown: it could not be judged, or would refuse.
Status = Literal["ok", "change", "maybe", "unknown", "failed", "not run"]


@dataclass(frozen=True)
class Operation:
    """One operation, called as pyinfra prints it (`Base | Packages`)."""

    name: str
    status: Status
    details: tuple[str, ...] = ()
    diffs: tuple[FileDiff, ...] = ()
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """A role on one host, looked at or applied; with any of `problems` the task fails.

    `will_change` are names that later roles' operations would act on, known from a look.
    """

    operations: tuple[Operation, ...]
    problems: tuple[str, ...]
    reboot_required: bool
    will_change: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything changed, or surely would; what did before a failure counts."""
        return any(each.status == "change" for each in self.operations)


def result(report: Report, plan: str, diff: bool) -> dict[str, object]:
    """The result of the task; `plan` is the hash of the host's plan, `diff` adds Ansible's differences."""
    given: dict[str, object] = {
        "changed": report.changed,
        "failed": bool(report.problems),
        "msg": _sentence(report),
        "operations": [_entry(each) for each in report.operations],
        "plan": plan,
        "reboot_required": report.reboot_required,
    }
    if diff:
        given["diff"] = [{"prepared": text} for text in _differences(report.operations)]
    return given


def brief(operation: Operation) -> dict[str, object]:
    """An operation as a list of many shows it: its commands only where it says nothing."""
    details = [*operation.details, *(f"change {diff.path}" for diff in operation.diffs)]
    return {
        "name": operation.name,
        "status": operation.status,
        "details": details or list(operation.commands),
    }


def clean(values: dict[str, object], secrets: Sequence[str]) -> dict[str, object]:
    """`values` without any of `secrets` in the texts below them, and without what looks like one."""
    return {key: _clean(value, secrets) for key, value in values.items()}


def _clean(value: object, secrets: Sequence[str]) -> object:
    if isinstance(value, str):
        return mask_text(value, secrets)
    if isinstance(value, dict):
        return {key: _clean(each, secrets) for key, each in value.items()}
    return [_clean(each, secrets) for each in value] if isinstance(value, list) else value


def _sentence(report: Report) -> str:
    if report.problems:
        return "\n".join(report.problems)
    changes = [each.name for each in report.operations if each.status == "change"]
    if not changes:
        return f"as declared: {len(report.operations)} operations, nothing to change"
    return f"{len(changes)} of {len(report.operations)} operations change something: {', '.join(changes)}"


def _entry(operation: Operation) -> dict[str, object]:
    return {
        "name": operation.name,
        "status": operation.status,
        "details": list(operation.details),
        "commands": list(operation.commands),
    }


def _differences(operations: Iterable[Operation]) -> list[str]:
    """For each operation that changes something what it says and its files' differences; else its commands."""
    texts = []
    for each in operations:
        if each.status == "change":
            files = [diff.diff for diff in each.diffs]
            lines = each.details or (() if files else each.commands)
            said = [f"{each.name}:", *(f"  {line}" for line in lines)] if lines else []
            texts.append("\n".join([*said, *files]) + "\n")
    return texts
