"""What operations share: a script with quoted arguments, one-line framed readings, and a failure with a reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from pyinfra import host as current_host
from pyinfra import logger
from pyinfra.api.command import FunctionCommand, QuoteString, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.context import ctx_host, ctx_state

from gpuwright.errors import Refusal

_changing: WeakKeyDictionary[Host, set[str]] = WeakKeyDictionary()
_listeners: WeakKeyDictionary[State, Said] = WeakKeyDictionary()


@dataclass
class Said:
    """What operations say, kept as data: lines and unified diffs with their paths (under --diff), and refusals."""

    lines: list[str] = field(default_factory=list)
    diffs: list[tuple[str, str]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)

    def clear(self) -> None:
        """Forget all of it: the next operation begins."""
        self.lines.clear()
        self.diffs.clear()
        self.refusals.clear()


def listen(state: State) -> Said:
    """Collect what operations of `state` say from now on, instead of logging it."""
    return _listeners.setdefault(state, Said())


def listener() -> Said | None:
    """Who listens to the current state, if anyone does."""
    return _listeners.get(ctx_state.get())


def script(text: str, *arguments: str) -> StringCommand:
    """A POSIX sh script whose values arrive as $1, $2 ...: nothing is ever pasted into its text."""
    return StringCommand(
        "sh", "-c", QuoteString(text), "sh", *(QuoteString(argument) for argument in arguments)
    )


def failure(*refusals: Refusal) -> FunctionCommand:
    """A command that fails this host alone, with the four parts of each refusal as its message."""
    return FunctionCommand(failed, (refusals,), {})


def failed(state: State, host: Host, refusals: tuple[Refusal, ...]) -> bool:
    """The end of a FunctionCommand that could not do its work: says why, and is False, pyinfra's failure."""
    listening = _listeners.get(state)
    if listening is not None:
        listening.refusals += refusals
        return False
    for refusal in refusals:
        host.log_styled(str(refusal), fg="red", log_func=logger.error)
    return False


def show(*lines: str) -> None:
    """Say under --diff what an operation is about to do; once, whether or not a dry pass comes first."""
    listening = listener()
    if listening is not None:
        listening.lines += lines
        return
    state = current_host.state
    if state.config.DIFF and not (state.is_executing and state.check_for_changes):
        for line in lines:
            current_host.log(f"  {line}")


def will_change(*names: str) -> None:
    """Note in a dry pass what an operation would change, so that a later one can say what it would restart."""
    state = current_host.state
    if not state.is_executing:
        _changing.setdefault(ctx_host.get(), set()).update(names)


def would_change(names: Iterable[str]) -> bool:
    """Whether an operation before this one noted one of `names` in this dry pass."""
    return not current_host.state.is_executing and not _changing.get(ctx_host.get(), set()).isdisjoint(names)


def noted() -> tuple[str, ...]:
    """All names that operations noted in this dry pass."""
    return tuple(sorted(_changing.get(ctx_host.get(), set())))


def fields(lines: Iterable[str], count: int) -> list[list[str]]:
    """Tab-separated readings. Raises ValueError for a line that was cut off."""
    rows = [line.split("\t") for line in lines]
    for row in rows:
        if len(row) != count:
            raise ValueError(f"expected {count} fields, got {row!r}")
    return rows
