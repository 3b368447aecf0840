"""The frame around the probe's text: named sections, what this user was denied, and words as numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gpuwright.facts.model import unreadable

_COMPLETE = "complete output of the probe"


@dataclass(frozen=True)
class Sections:
    """Sections that were read without an error, and what is there but only root may read."""

    texts: Mapping[str, tuple[str, ...]]
    denied: tuple[str, ...]

    def required(self, name: str) -> tuple[str, ...]:
        """The lines of a section that every host has. GpuwrightError where it is missing or failed."""
        if name not in self.texts:
            raise unreadable(f"no section {name}", "a host with /proc, /sys and os-release mounted")
        return self.texts[name]

    def lines(self, name: str) -> tuple[str, ...]:
        """The lines of a section, none where it is missing or failed."""
        return self.texts.get(name, ())

    def word(self, name: str) -> str:
        """The one value of a section, "" where it is missing or failed."""
        return "\n".join(self.lines(name)).strip()


def read_sections(text: str) -> Sections:
    """Cut the probe's output into sections. GpuwrightError for one that began and never ended."""
    texts: dict[str, tuple[str, ...]] = {}
    denied: set[str] = set()
    name: str | None = None
    lines: list[str] = []
    # A lone surrogate could not be written as JSON; other line breaks than this one may lie inside of values.
    for line in text.encode("utf-8", "replace").decode().split("\n"):
        line = line.rstrip("\r")
        mark, _, rest = line.partition(" ")
        if mark == "@@begin":
            if name is not None:
                raise unreadable(f"section {name} has no end", _COMPLETE)
            name, lines = rest, []
        elif mark == "@@end" and name is not None:
            ended, _, status = rest.partition(" ")
            if ended != name:
                raise unreadable(f"section {name} has no end", _COMPLETE)
            if status == "0":
                texts[name] = tuple(lines)
            name = None
        elif mark == "@@denied":
            denied.add(rest)
        elif name is not None:
            lines.append(line)
    if name is not None:
        raise unreadable(f"section {name} has no end", _COMPLETE)
    return Sections(texts, tuple(sorted(denied)))


def words(line: str, least: int, most: int, what: str, required: str) -> list[str]:
    """The words of a line; GpuwrightError where there are not as many as that."""
    found = line.split()
    if not least <= len(found) <= most:
        raise unreadable(f"{what} line {line!r}", required)
    return found


def number(text: str) -> int | None:
    """A decimal number of at most 18 digits, else None."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None
