"""Versions of kernels, drivers and packages, for comparing."""

from __future__ import annotations

import re


def numbers(version: str) -> tuple[int, ...]:
    """The numbers that a version starts with; without any it is before all others.

    >>> numbers("580.126.09-1ubuntu1"), numbers("6.12.117+deb13-amd64"), numbers("unknown")
    ((580, 126, 9), (6, 12, 117), ())
    """
    start = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(number) for number in start[0].split(".")) if start else ()


def at_least(version: str, floor: str) -> bool:
    """Whether a version (6.12.117, 6.8.0-52-generic) is `floor` (6.12, "" for any) or newer.

    >>> at_least("6.12.117+deb13-amd64", "6.9"), at_least("6.8.0-52-generic", "6.12")
    (True, False)
    """
    return numbers(version) >= numbers(floor)
