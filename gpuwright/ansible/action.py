"""Action plugins: what Ansible calls for `gpuwright_role`, `gpuwright_verify` and `gpuwright_drift`.

They run in Ansible's worker on the control machine and need a POSIX shell on the host, no Python.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from typing_extensions import override

from gpuwright import locks
from gpuwright.ansible import run
from gpuwright.ansible.action_shell import ActionShell
from gpuwright.ansible.report import brief, clean, result
from gpuwright.ansible.session import opened
from gpuwright.ansible.variables import secrets_among, settings_among
from gpuwright.connection import Connection
from gpuwright.drift import plan_run
from gpuwright.drift.log import Log
from gpuwright.drift.mask import mask_text
from gpuwright.errors import GpuwrightError
from gpuwright.fleet import planned
from gpuwright.inventory import HostEntry
from gpuwright.operations import maintenance
from gpuwright.verify.host import replan, verdicts_of
from gpuwright.verify.verdict import HostReport

_FACT = "gpuwright_will_change"
# Ansible imports this once, and then forks a worker for each task and host.
_RUN = token_hex(8)

run.warm()


@dataclass(frozen=True)
class Task:
    """What a task brings: the host's shell and name, its settings, the module's options, and Ansible's variables."""

    shell: ActionShell
    host: str
    data: dict[str, object] = field(repr=False)
    options: Mapping[str, Any]
    variables: Mapping[str, Any] = field(repr=False)
    check: bool
    diff: bool


class GpuwrightAction(ActionBase):  # type: ignore[misc]
    """What the three have in common: arguments, the host's settings, and errors in one sentence."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_diff = True
    _supports_async = False
    _requires_connection = True
    ARGUMENTS: Mapping[str, Mapping[str, object]] = {}

    @override
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        if self._task.async_val:
            raise AnsibleActionFail(
                f"{self._task.action}: the task has async; required: a task that Ansible waits for. Remove async and "
                "poll: long work shows its progress, and the keyword timeout bounds it. Nothing was changed."
            )
        if self._task.delegate_to:
            raise AnsibleActionFail(
                f"{self._task.action}: the task has delegate_to, so one host's settings would be applied to another; "
                "required: a play over the host itself. Nothing was changed."
            )
        given = super().run(tmp, task_vars)
        variables = task_vars or {}
        _, options = self.validate_argument_spec(dict(self.ARGUMENTS))
        if any(self._task.environment or ()):
            Display().warning(
                f"{self._task.action} does not use the keyword environment; base_proxy is the setting for a proxy"
            )
        task = Task(
            ActionShell(self),
            str(variables["inventory_hostname"]),
            settings_among(variables, self._templar.template) | _of_the_run(variables),
            options,
            variables,
            bool(self._task.check_mode),
            bool(self._task.diff),
        )
        try:
            given.update(self.act(task))
        except GpuwrightError as error:
            sentences = [str(refusal) for refusal in error.refusals]
            given.update(failed=True, changed=False, msg="\n".join(sentences), refusals=sentences)
        except Exception as error:
            if task.shell.lost is None and isinstance(error, OSError):
                raise AnsibleActionFail(f"{type(error).__name__}: {error}") from error
            if task.shell.lost is None:
                raise
        if task.shell.lost is not None:
            raise task.shell.lost
        return clean(given, secrets_among(task.data))

    def act(self, task: Task) -> dict[str, object]:
        """Do the work and give the result; errors as GpuwrightError or OSError."""
        raise NotImplementedError

    def log(self, task: Task) -> Log:
        """pyinfra's log; long work is shown as it goes on, beside the output that programs read."""
        if self._task.no_log:
            return Log()
        secrets = secrets_among(task.data)
        return Log(lambda line: Display().display(f"[{task.host}] {mask_text(line, secrets)}", stderr=True))


class RoleAction(GpuwrightAction):
    """One role, or the stamp."""

    ARGUMENTS = {"name": {"type": "str", "required": True, "choices": list(run.names())}}  # noqa: RUF012

    @override
    def act(self, task: Task) -> dict[str, object]:
        log = self.log(task)
        with opened(task.shell, task.host, task.data, task.check or task.diff) as host:
            run.declare(host, task.options["name"])
            plan = planned().digest
            if not task.check:
                return result(run.apply(host, log, self._began(task.host)), plan, task.diff)
            report = run.look(host, log, _noted(task.variables))
        return {**result(report, plan, task.diff), "ansible_facts": {_FACT: _note(report.will_change)}}

    def _began(self, name: str) -> Callable[[str], None]:
        if self._task.no_log:
            return lambda operation: None
        return lambda operation: Display().v(operation, host=name)


class DriftAction(GpuwrightAction):
    """What a run of deploy.py would change; nothing is."""

    @override
    def act(self, task: Task) -> dict[str, object]:
        with opened(task.shell, task.host, task.data, True) as host:
            plan_run.declare(host)
            report = run.look(host, self.log(task))
            given = result(report, planned().digest, task.diff)
        given["operations"] = [brief(each) for each in report.operations if each.status != "ok"]
        status = "could not judge" if report.problems else "differs" if report.changed else "as declared"
        return {
            **given,
            "changed": False,
            "failed": status != "as declared",
            "status": status,
            "reasons": list(report.problems),
        }


class VerifyAction(GpuwrightAction):
    """The checks of `gpuwright verify`."""

    ARGUMENTS = {"fast": {"type": "bool", "default": False}}  # noqa: RUF012

    @override
    def act(self, task: Task) -> dict[str, object]:
        # Ansible has made the commands root already.
        entry = HostEntry(task.host, {**task.data, "_sudo": False})
        with opened(task.shell, task.host, task.data, False) as host:
            connection = Connection(entry, host)
            facts, plan = replan(connection, entry)
            verdicts = verdicts_of(connection, facts, plan, bool(task.options["fast"]))
        report = HostReport(task.host, verdicts, (), 0)
        bad = [each for each in report.verdicts if each.status in ("fail", "unknown")]
        lines = [
            f"{each.check} ({each.subject}): {each.status}, {each.observed}. {each.action}" for each in bad
        ]
        return {
            "changed": False,
            "failed": report.outcome != "as declared",
            "msg": "\n".join([report.outcome, *lines]),
            "outcome": report.outcome,
            "plan": plan.digest,
            "passed": sum(each.status == "pass" for each in report.verdicts),
            "verdicts": [asdict(each) for each in report.verdicts if each.status != "pass"],
        }


def _of_the_run(variables: Mapping[str, Any]) -> dict[str, object]:
    """What is no setting of the host: where its lock is, and whether this run may stop services."""
    folder = variables.get(locks.DATUM) or variables.get("inventory_dir")
    found: dict[str, object] = {}
    if folder:
        found[locks.DATUM] = str(variables.get(locks.DATUM) or Path(str(folder)) / "locks")
    if maintenance.DATUM in variables:
        found[maintenance.DATUM] = variables[maintenance.DATUM]
    return found


def _note(names: tuple[str, ...]) -> dict[str, object]:
    """A look's notes for the roles after it, of this run alone: facts may be kept in a cache."""
    return {"run": _RUN, "names": list(names)}


def _noted(variables: Mapping[str, Any]) -> tuple[str, ...]:
    note = (variables.get("ansible_facts") or {}).get(_FACT) or {}
    return tuple(map(str, note["names"])) if note.get("run") == _RUN else ()
