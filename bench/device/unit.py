"""The command that systemd would run for a unit's ExecStart=, as words: for a machine whose pid 1 is not systemd.

Source: systemd.service(5), COMMAND LINES; systemd.unit(5), SPECIFIERS; systemd.exec(5), EnvironmentFile=. What a
gpuwright unit has no use for (other specifiers than %n and %%, exec prefixes but `-`, numbers of characters, a
backslash in an environment file) is refused with ValueError, not guessed. Compared with systemd 257's own words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "s": " ", "\\": "\\", '"': '"', "'": "'"}
_WORD = re.compile(r"\$(\w+)")


def lines(text: str) -> list[tuple[str, str]]:
    """All assignments in order; a backslash at a line's end goes on with the next, comments between are none of it."""
    found: list[tuple[str, str]] = []
    pending = ""
    for line in text.splitlines():
        if line.lstrip().startswith(("#", ";")) or not (pending or line.strip()):
            continue
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        whole, pending = pending + line, ""
        key, equals, value = whole.strip().partition("=")
        if equals:
            found.append((key.strip(), value.strip()))
    return found


def environment(text: str) -> dict[str, str]:
    """An environment file: KEY=VALUE lines, quotes around a value taken off."""
    if "\\" in text:
        raise ValueError("a backslash in an environment file")
    found: dict[str, str] = {}
    for key, value in lines(text):
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
        found[key] = value[1:-1] if quoted else value
    return found


def environment_files(unit: str) -> list[str]:
    """The paths of EnvironmentFile=, in order; `-` before one (it may be missing) is left out."""
    return [value.removeprefix("-") for key, value in lines(unit) if key == "EnvironmentFile"]


def assigned(unit: str) -> dict[str, str]:
    """What Environment= says: words of KEY=VALUE, in quotes where a value has blanks."""
    pairs = (
        word.partition("=") for key, value in lines(unit) if key == "Environment" for word in _split(value)
    )
    return {name: value for name, _, value in pairs}


def started(unit: str, name: str, known: Mapping[str, str]) -> list[str]:
    """ExecStart='s words, for the unit called `name` with `known` as its environment. ValueError: not one command."""
    return _command(_only(unit, "ExecStart"), name, known)


def commands(unit: str, key: str, name: str, known: Mapping[str, str]) -> list[list[str]]:
    """The words of every `key` (ExecStartPre), in order."""
    return [_command(value, name, known) for found, value in lines(unit) if found == key]


def load(unit: str, root: Path = Path("/")) -> dict[str, str]:
    """What the unit's environment files say, the later over the earlier."""
    found: dict[str, str] = {}
    for path in environment_files(unit):
        found |= environment((root / path.lstrip("/")).read_text())
    return found


def _only(unit: str, key: str) -> str:
    values = [value for found, value in lines(unit) if found == key]
    if len(values) != 1:
        raise ValueError(f"the unit has {len(values)} {key}=")
    return values[0]


def _command(value: str, name: str, known: Mapping[str, str]) -> list[str]:
    value = value.removeprefix("-")
    if value[:1] in "@:+!|":
        raise ValueError(f"an exec prefix that is not read here: {value[:1]}")
    words: list[str] = []
    for word in _split(_specifiers(value, name)):
        whole = _WORD.fullmatch(word)
        if whole:  # $NAME alone: as many words as its value has
            words += _split(known.get(whole[1], ""))
        else:
            words.append(re.sub(r"\$\{(\w+)\}|\$\$", lambda m: _one(m, known), word))
    return words


def _one(match: re.Match[str], known: Mapping[str, str]) -> str:
    return known.get(match[1], "") if match[1] else "$"


def _specifiers(value: str, name: str) -> str:
    def meant(match: re.Match[str]) -> str:
        try:
            return {"n": name, "%": "%"}[match[1]]
        except KeyError:
            raise ValueError(f"a specifier that is not read here: %{match[1]}") from None

    return re.sub(r"%(.)", meant, value)


def _split(text: str) -> list[str]:
    """Words between blanks; quotes hold a word together, a backslash is C's."""
    words: list[str] = []
    word: str | None = None
    quote = ""
    rest = iter(text)
    for letter in rest:
        if letter == "\\":
            follows = next(rest, "")
            if follows not in _ESCAPES:
                raise ValueError(f"an escape that is not read here: \\{follows}")
            word = (word or "") + _ESCAPES[follows]
        elif quote:
            if letter == quote:
                quote = ""
            else:
                word = (word or "") + letter
        elif letter in "\"'":
            quote, word = letter, word or ""
        elif letter.isspace():
            if word is not None:
                words.append(word)
            word = None
        else:
            word = (word or "") + letter
    if quote:
        raise ValueError(f"a quote that does not end: {text}")
    return words if word is None else [*words, word]
