"""Host data on the command line: KEY=VALUE, as pyinfra's --data reads it."""

from __future__ import annotations

import json
from collections.abc import Sequence


def parse_data(arguments: Sequence[str]) -> dict[str, object]:
    """`KEY=VALUE` as pyinfra's command line reads --data: booleans, integers and JSON, else text.

    Raises ValueError for an argument without a key.

    >>> parse_data(["a=true", "b=[1]", "c=x=y"])
    {'a': True, 'b': [1], 'c': 'x=y'}
    """
    data: dict[str, object] = {}
    for argument in arguments:
        key, found, value = argument.partition("=")
        if not found or not key:
            raise ValueError(f"{argument!r} is not KEY=VALUE")
        data[key] = _parse_value(value)
    return data


def _parse_value(text: str) -> object:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for parse in (int, json.loads):
        try:
            return parse(text)
        except ValueError:
            pass
    return text
