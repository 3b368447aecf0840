"""Commands of a plan as lines that a person reads: shortened, and without what pyinfra hides."""

from __future__ import annotations

import re
import textwrap

from pyinfra.api.command import (
    FileUploadCommand,
    FunctionCommand,
    PyinfraCommand,
    QuoteString,
    StringCommand,
)

WIDTH = 160


def readable(command: PyinfraCommand) -> str:
    """One line about `command`.

    >>> readable(StringCommand("sh", "-c", QuoteString('systemctl start "$1"'), "sh", QuoteString("a.service")))
    'systemctl start a.service'
    """
    if isinstance(command, FileUploadCommand):
        return f"upload {command.dest}"
    if isinstance(command, FunctionCommand):
        return _purpose(command)
    if isinstance(command, StringCommand):
        return _shell(command)
    return type(command).__name__


def _purpose(command: FunctionCommand) -> str:
    """The first sentence of the function's docstring, else its name; its arguments may be secret."""
    doc = (command.function.__doc__ or "").strip()
    name = getattr(command.function, "__name__", "function").strip("_").replace("_", " ")
    return _shorten(doc.partition("\n")[0].rstrip(".") if doc else name)


def _shell(command: StringCommand) -> str:
    bits = command.bits
    while len(bits) == 1 and isinstance(bits[0], StringCommand):
        bits = bits[0].bits
    if len(bits) < 4 or bits[:2] != ("sh", "-c") or not isinstance(bits[2], QuoteString):
        return _shorten(command.get_masked_value())
    # str() of a HiddenValue is its mask.
    text = str(bits[2].obj).strip()
    arguments = [str(bit.obj if isinstance(bit, QuoteString) else bit) for bit in bits[4:]]
    if "\n" in text:
        # A longer script may shift or set its arguments, so they are listed and not put in.
        return _shorten(f"{text} -- {' '.join(arguments)}" if arguments else text)
    return _shorten(re.sub(r'"\$([1-9])"', lambda match: _value(arguments, match), text))


def _value(arguments: list[str], match: re.Match[str]) -> str:
    index = int(match[1]) - 1
    return arguments[index] if index < len(arguments) else match[0]


def _shorten(text: str) -> str:
    return textwrap.shorten(text, WIDTH, placeholder=" ...")
