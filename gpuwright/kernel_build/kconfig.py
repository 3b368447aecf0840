"""Why Kconfig dropped an option: the part of its dependencies that the finished configuration does not meet.

Kconfig itself says nothing. What is read is the symbol's own block and what stands around it in its file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

_TOKEN = re.compile(r'\s*(&&|\|\||!=|<=|>=|[!=<>()]|"[^"]*"|\$\([^)]*\)|[\w.-]+)')
_COMPARISONS = ("=", "!=", "<", ">", "<=", ">=")


@dataclass(frozen=True)
class Definition:
    """One `config` block: what it depends on, and whether a person can set it (others only select it)."""

    depends: tuple[str, ...]
    prompt: bool


def reason(symbol: str, definitions: Iterable[Definition], final: Mapping[str, str]) -> str:
    """What keeps a symbol from its value, as a person would say it."""
    found = tuple(definitions)
    if not found:
        return f"no Kconfig of this source has {symbol}"
    terms = [unmet(definition, final) for definition in found]
    if all(terms):
        return "depends on " + ", or ".join(" and ".join(each) for each in terms)
    if not any(definition.prompt for definition in found):
        return "cannot be set by itself: other options select it"
    return "its own dependencies are met; a choice, an option that selects it or a menu above it decides"


def unmet(definition: Definition, final: Mapping[str, str]) -> tuple[str, ...]:
    """The terms that are not met, each once, with the value that is there."""
    found: list[str] = []
    for expression in definition.depends:
        met, terms = _Expression(expression, final).evaluate()
        if not met:
            found += terms
    return tuple(dict.fromkeys(found))


def definitions(text: str, symbol: str) -> tuple[Definition, ...]:
    """The blocks of a symbol in one Kconfig file."""
    found: list[Definition] = []
    around: list[tuple[str, list[str]]] = []  # what is open: (if | menu | choice, conditions)
    mine: list[str] | None = None  # conditions of the symbol's block, while in it
    head = ""  # which block a `depends on` belongs to
    prompt = False

    def close() -> None:
        if mine is not None:
            found.append(Definition(tuple(c for _, each in around for c in each) + tuple(mine), prompt))

    for line in _lines(text):
        word, _, rest = line.partition(" ")
        rest = rest.strip()
        if word in (
            "config",
            "menuconfig",
            "if",
            "endif",
            "menu",
            "endmenu",
            "choice",
            "endchoice",
            "comment",
        ):
            close()
            mine, prompt, head = None, False, word
            if word in ("config", "menuconfig") and rest == symbol:
                mine = []
            elif word in ("if", "menu", "choice"):
                around.append((word, [rest] if word == "if" else []))
            elif word.startswith("end") and around:
                around.pop()
        elif line.startswith("depends on "):
            condition = line.removeprefix("depends on ")
            if mine is not None:
                mine.append(condition)
            elif head in ("menu", "choice") and around:
                around[-1][1].append(condition)
        elif mine is not None and (word == "prompt" or (word in _TYPES and rest.startswith(('"', "'")))):
            prompt = True
    close()
    return tuple(found)


_TYPES = ("bool", "tristate", "int", "hex", "string", "def_bool", "def_tristate")


def _lines(text: str) -> Iterator[str]:
    """Statements: continuation lines joined, help texts and comments left out, blanks made single."""
    inside: int | None = None  # indentation of the help text that is being left out, -1 before its first line
    for line in re.sub(r"\\\n", " ", text).expandtabs(8).splitlines():
        bare = line.strip()
        indent = len(line) - len(line.lstrip())
        if not bare:
            continue
        if inside == -1:
            inside = indent if indent > 0 else None
        if inside is not None and indent >= inside:
            continue
        inside = None
        if bare in ("help", "---help---"):
            inside = -1
        elif not bare.startswith("#"):
            yield " ".join(bare.split())


class _Expression:
    """A Kconfig expression over a finished configuration; a term that is m counts as met."""

    def __init__(self, text: str, final: Mapping[str, str]) -> None:
        self._tokens = _TOKEN.findall(text.split(" if ")[0])
        self._final = final
        self._at = 0

    def evaluate(self) -> tuple[bool, list[str]]:
        """Whether it is met, and the terms to blame where it is not."""
        return self._or()

    def _or(self) -> tuple[bool, list[str]]:
        parts = [self._and()]
        while self._take("||"):
            parts.append(self._and())
        if any(met for met, _ in parts):
            return True, []
        terms = [term for _, each in parts for term in each]
        return False, terms if len(parts) == 1 else ["one of " + ", ".join(terms)]

    def _and(self) -> tuple[bool, list[str]]:
        parts = [self._not()]
        while self._take("&&"):
            parts.append(self._not())
        return all(met for met, _ in parts), [term for met, each in parts if not met for term in each]

    def _not(self) -> tuple[bool, list[str]]:
        if self._take("!"):
            start = self._at
            met, _ = self._not()
            text = "".join(self._tokens[start : self._at])
            return not met, [] if not met else [f"!{text} ({text} is y)"]
        if self._take("("):
            inner = self._or()
            self._take(")")
            return inner
        return self._term()

    def _term(self) -> tuple[bool, list[str]]:
        left = self._next()
        if self._at < len(self._tokens) and self._tokens[self._at] in _COMPARISONS:
            operator, right = self._next(), self._next()
            equal = self._value(left) == self._value(right)
            if operator not in ("=", "!="):
                return True, []  # versions of tools: not what a person left out
            met = equal if operator == "=" else not equal
            return met, [f"{left}{operator}{right} ({left} is {self._value(left)})"]
        value = self._value(left)
        return value not in ("n", ""), [f"{left} (which is n)"]

    def _value(self, word: str) -> str:
        if word.startswith('"') or word in ("y", "m", "n"):
            return word.strip('"')
        if word.startswith("$("):
            return "y"  # a question to the compiler: not what a person left out
        return self._final.get(word, "n").strip('"')

    def _take(self, token: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at] == token:
            self._at += 1
            return True
        return False

    def _next(self) -> str:
        self._at += 1
        return str(self._tokens[self._at - 1]) if self._at <= len(self._tokens) else ""
