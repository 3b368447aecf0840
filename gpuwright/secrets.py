"""Secrets: named in the inventory, read on the control machine when a run needs them, shown nowhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from gpuwright.errors import GpuwrightError

KINDS: Mapping[str, Callable[[str, Mapping[str, object]], str]] = {
    "env": lambda name, data: os.environ[name],
    "file": lambda name, data: Path(name).expanduser().read_text(encoding="utf-8").strip(),
    "var": lambda name, data: str(data[name] or ""),
}


class Secret:
    """A value that prints as stars; only `reveal()` gives it away, and only to what must have it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "Secret(***)"

    def reveal(self) -> str:
        """The value itself: never for an argument list, a log, a plan or JSON."""
        return self._value


def read(reference: str, data: Mapping[str, object]) -> Secret:
    """The secret behind `env:NAME`, `file:PATH` or `var:NAME`, which is among a host's `data`.

    Raises GpuwrightError, without its value, where it is missing.
    """
    kind, _, name = reference.partition(":")
    try:
        value = KINDS[kind](name, data)
    except KeyError:
        value, observed = "", "the variable is not set"
    except OSError as error:
        value, observed = "", error.strerror or type(error).__name__
    else:
        observed = "it is empty"
    if not value:
        raise GpuwrightError.of(
            f"secret {reference}",
            observed,
            "a value on the control machine",
            "Set it, or take the declaration out.",
        )
    return Secret(value)
