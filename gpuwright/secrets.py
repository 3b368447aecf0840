"""Secrets: named in the inventory, read on the control machine when a run needs them, shown nowhere."""

from __future__ import annotations

import os
from pathlib import Path

from gpuwright.errors import GpuwrightError


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


def read(reference: str) -> Secret:
    """The secret behind `env:NAME` or `file:PATH`. Raises GpuwrightError, without its value, where it is missing."""
    kind, _, name = reference.partition(":")
    try:
        value = (
            os.environ[name] if kind == "env" else Path(name).expanduser().read_text(encoding="utf-8").strip()
        )
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
