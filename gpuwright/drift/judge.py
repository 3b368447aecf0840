"""What each declared operation of a host would do: its generator runs once, and nothing that it yields is executed."""

from __future__ import annotations

import re

from pyinfra.api.command import FunctionCommand, PyinfraCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host

from gpuwright.drift.commands import readable
from gpuwright.drift.log import Log
from gpuwright.drift.model import FileDiff, OperationDrift
from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.operations.shell import Said, failed, listen


def judge(host: Host, logs: Log) -> tuple[tuple[OperationDrift, ...], tuple[str, ...]]:
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
            problems = (sentence(error, logs),)
        problems += tuple(str(refusal) for command in commands for refusal in refusals_of(command))
        operations.append(_operation(name, commands, said, logs, bool(problems)))
        reasons += [f"{name}: {problem}" for problem in problems]
    return tuple(operations), tuple(reasons)


def _operation(
    name: str, commands: list[PyinfraCommand], said: Said, logs: Log, unknown: bool
) -> OperationDrift:
    role, _, operation = name.rpartition(" | ")
    return OperationDrift(
        role,
        operation,
        "unknown" if unknown else "change" if commands else "ok",
        (*said.lines, *logs.lines),
        tuple(FileDiff(path, diff) for path, diff in said.diffs),
        tuple(readable(command) for command in commands if not refusals_of(command)),
    )


def refusals_of(command: PyinfraCommand) -> tuple[Refusal, ...]:
    """Why a run would fail here: the operation refuses what it found."""
    if isinstance(command, FunctionCommand) and command.function is failed:
        (refusals,) = command.args
        return tuple(refusals)
    return ()


def sentence(error: Exception, logs: Log) -> str:
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
