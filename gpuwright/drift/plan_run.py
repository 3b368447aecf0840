"""One host, in this process: connect, let deploy.py declare its operations, and see what each would do.

pyinfra's API has one state for a process, so a process judges one host and ends. Each operation's generator runs
once, in order, and nothing that it yields is executed.
"""

from __future__ import annotations

import importlib
import logging
import re
import sys
from collections.abc import Callable

from pyinfra.api.command import FunctionCommand, PyinfraCommand
from pyinfra.api.deploy import add_deploy
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import StateStage
from pyinfra.context import ctx_host, ctx_state
from typing_extensions import override

from gpuwright.drift.commands import readable
from gpuwright.drift.mask import masked, secrets_of
from gpuwright.drift.model import FileDiff, HostDrift, OperationDrift
from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.inventory import HostEntry
from gpuwright.operations.shell import Said, failed, listen
from gpuwright.paths import ROOT
from gpuwright.pyinfra_lookups import remember
from gpuwright.session import opened
from gpuwright.unattended import never_prompt_without_a_terminal


def plan_run(entry: HostEntry, watch: Callable[[Host], None] = lambda host: None) -> HostDrift:
    """What a run would change on `entry`'s host; whatever goes wrong becomes a reason, in one sentence each.

    `watch` is called with the host when it is connected and was not yet asked anything.
    """
    never_prompt_without_a_terminal()
    remember()
    logs = _Log()
    try:
        # Without pyinfra's own check for changes: it would stop at an operation's first command, and read facts twice.
        with opened(entry, diff=True, check_for_changes=False) as host:
            host.state.set_stage(StateStage.Prepare)
            watch(host)
            with ctx_state.use(host.state), ctx_host.use(host):
                _declare(host)
                operations, reasons = _judge(host, logs)
            drift = HostDrift(entry.name, reasons, operations)
    except GpuwrightError as error:
        drift = HostDrift(entry.name, tuple(str(refusal) for refusal in error.refusals))
    except Exception as error:  # deploy.py and the roles are code that people change
        drift = HostDrift(entry.name, (_sentence(error, logs),))
    return masked(drift, secrets_of(entry.data))


class _Log(logging.Handler):
    """What pyinfra says meanwhile: lines for people, and why a fact could not be read."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []
        self.errors: list[str] = []
        logger = logging.getLogger("pyinfra")
        logger.handlers, logger.propagate = [self], False
        logger.setLevel(logging.INFO)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        text = re.sub(r"^\[[^]]*\]\s*", "", record.getMessage())
        (self.errors if record.levelno >= logging.WARNING else self.lines).append(text.strip())

    def clear(self) -> None:
        self.lines, self.errors = [], []


def _declare(host: Host) -> None:
    """Let deploy.py of this checkout add its operations. Raises GpuwrightError when the host is refused."""
    if not (ROOT / "deploy.py").is_file():
        raise GpuwrightError.of(
            f"checkout {ROOT}",
            "it has no deploy.py",
            "a checkout of gpuwright",
            "Run from one: git clone it.",
        )
    sys.path.insert(0, str(ROOT))  # an installed package called `roles` must not win
    add_deploy(host.state, importlib.import_module("deploy").converge)


def _judge(host: Host, logs: _Log) -> tuple[tuple[OperationDrift, ...], tuple[str, ...]]:
    """Every operation in order, and a reason for each that could not be judged."""
    said = listen(host.state)
    operations: list[OperationDrift] = []
    reasons: list[str] = []
    for op_hash in host.op_hash_order:
        (name,) = host.state.get_op_meta(op_hash).names
        logs.clear()
        said.clear()
        commands: list[PyinfraCommand] = []
        problems: tuple[str, ...] = ()
        try:
            commands += host.state.get_op_data_for_host(host, op_hash).command_generator()
        except GpuwrightError as error:
            problems = tuple(str(refusal) for refusal in error.refusals)
        except Exception as error:  # an operation reads whatever is on the host
            problems = (_sentence(error, logs),)
        problems += tuple(str(refusal) for command in commands for refusal in _refusals(command))
        operations.append(_operation(name, commands, said, logs, bool(problems)))
        reasons += [f"{name}: {problem}" for problem in problems]
    return tuple(operations), tuple(reasons)


def _operation(
    name: str, commands: list[PyinfraCommand], said: Said, logs: _Log, unknown: bool
) -> OperationDrift:
    role, _, operation = name.rpartition(" | ")
    return OperationDrift(
        role,
        operation,
        "unknown" if unknown else "change" if commands else "ok",
        (*said.lines, *logs.lines),
        tuple(FileDiff(path, diff) for path, diff in said.diffs),
        tuple(readable(command) for command in commands if not _refusals(command)),
    )


def _refusals(command: PyinfraCommand) -> tuple[Refusal, ...]:
    """Why a run would fail here: the operation refuses what it found."""
    if isinstance(command, FunctionCommand) and command.function is failed:
        (refusals,) = command.args
        return tuple(refusals)
    return ()


def _sentence(error: Exception, logs: _Log) -> str:
    """`error` in one line; for a fact that failed on the host its name and the host's last words."""
    for number, line in enumerate(logs.errors):
        fact = re.search(r"could not (?:load|process) fact: (\S+)", line)
        if fact:
            last = logs.errors[number - 1] if number else "it said nothing"
            return f"{fact[1].rpartition('.')[2]} could not be read ({last})"
    text = " ".join(str(error).split())
    return (
        text if isinstance(error, PyinfraError) and text else f"{type(error).__name__}: {text}".rstrip(": ")
    )
