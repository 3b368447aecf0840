"""A role on the host in context: looked at, or applied. Both give the same report."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache

from pyinfra.api.command import PyinfraCommand
from pyinfra.api.deploy import add_deploy
from pyinfra.api.host import Host
from pyinfra.api.operations import run_host_op
from pyinfra.api.state import StateOperationHostData, StateStage

from gpuwright import catalog
from gpuwright.ansible.connector import AnsibleConnector
from gpuwright.ansible.report import Operation, Report, Status
from gpuwright.drift.commands import readable
from gpuwright.drift.judge import judge, sentence
from gpuwright.drift.log import Log
from gpuwright.drift.model import FileDiff
from gpuwright.errors import GpuwrightError
from gpuwright.fleet import admitted, planned
from gpuwright.operations import run_lock, stamp
from gpuwright.operations.reboot import RebootRequired
from gpuwright.operations.shell import Said, listen, noted, will_change
from gpuwright.paths import ROOT, checkout_first
from gpuwright.pyinfra_lookups import remember

STAMP = "stamp"


@cache
def names() -> tuple[str, ...]:
    """What `gpuwright_role` can run: the roles of this checkout, and the stamp that ends a run."""
    roles = sorted(path.parent.name for path in (ROOT / "roles").glob("*/__init__.py"))
    return (*roles, STAMP)


def warm() -> None:
    """Load what every task needs, once for all workers that are forked afterwards."""
    for name in names():
        _body(name)
    catalog.load()
    remember()


def declare(host: Host, name: str) -> None:
    """Add the operations of `name`, which is one of `names`, below the run lock.

    Raises GpuwrightError where the host is refused.
    """
    body = _body(name)

    def converge() -> None:
        admitted()
        run_lock.held(name="Run lock")
        body()

    add_deploy(host.state, converge)


def look(host: Host, log: Log, pending: Iterable[str] = ()) -> Report:
    """What the declared operations would do; nothing is changed.

    `pending` are names that roles before this one would change, as their reports have it.
    """
    will_change(*pending)
    judged, reasons = judge(host, log)
    operations = []
    for op_hash, each in zip(host.op_hash_order, judged, strict=True):
        conditional = bool(host.state.get_op_data_for_host(host, op_hash).global_arguments["_if"])
        status: Status = "maybe" if conditional and each.status == "change" else each.status
        operations.append(Operation(each.name, status, each.details, each.diffs, each.commands))
    return Report(tuple(operations), reasons, _reboot_required(host), noted())


def apply(host: Host, log: Log, began: Callable[[str], None]) -> Report:
    """Run the declared operations in order, until one fails. `began` gets each one's name."""
    state = host.state
    said = listen(state)
    state.set_stage(StateStage.Execute)
    state.is_executing = True
    operations: list[Operation] = []
    problems: tuple[str, ...] = ()
    for op_hash in host.op_hash_order:
        (name,) = state.get_op_meta(op_hash).names
        if problems:
            operations.append(Operation(name, "not run"))
            continue
        log.clear()
        said.clear()
        began(name)
        commands = _recorded(state.get_op_data_for_host(host, op_hash))
        try:
            done = run_host_op(state, host, op_hash)
            reason = "" if done else _reason(host, said, log)
        except GpuwrightError as error:
            done, reason = False, str(error)
        except Exception as error:  # an operation reads whatever is on the host
            done, reason = False, sentence(error, log)
        status: Status = "failed" if not done else "change" if commands else "ok"
        diffs = tuple(FileDiff(path, diff) for path, diff in said.diffs)
        lines = (*said.lines, *log.lines)
        operations.append(Operation(name, status, lines, diffs, tuple(map(readable, commands))))
        if not done:
            problems = (f"{name}: {reason}",)
    return Report(tuple(operations), problems, not problems and _reboot_required(host))


def _recorded(operation: StateOperationHostData) -> list[PyinfraCommand]:
    """The commands that `operation` yields from now on, as they come."""
    commands: list[PyinfraCommand] = []
    generate = operation.command_generator

    def recording() -> Iterator[PyinfraCommand]:
        for command in generate():
            commands.append(command)
            yield command

    operation.command_generator = recording
    return commands


def _reason(host: Host, said: Said, log: Log) -> str:
    """Why the operation that ran last failed: its own refusals, else its command, exit code and last words."""
    assert isinstance(host.connector, AnsibleConnector)
    if said.refusals:
        return "\n".join(map(str, said.refusals))
    failed = host.connector.failed
    if failed is not None:
        return f"`{failed.command}` ended with {failed.code}: {failed.said or 'it said nothing'}"
    return log.errors[0] if log.errors else "it failed without a word"


def _reboot_required(host: Host) -> bool:
    required: bool = host.get_fact(RebootRequired)
    return required


def _body(name: str) -> Callable[[], object]:
    if name == STAMP:
        return lambda: stamp.applied(name="Stamp", plan=planned())
    checkout_first()
    body: Callable[[], object] = getattr(importlib.import_module(f"roles.{name}"), name)
    return body
