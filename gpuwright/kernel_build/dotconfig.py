"""A kernel's .config as values: read, merged with what is wanted, compared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gpuwright.errors import GpuwrightError

_SET = re.compile(r"CONFIG_(\w+)=(.*)")
_UNSET = re.compile(r"# CONFIG_(\w+) is not set")
_SWITCH = ("y", "m", "n")


@dataclass(frozen=True)
class Option:
    """A symbol without its prefix, and its value as .config writes it: y, m, n, a number or a quoted text."""

    symbol: str
    value: str

    def line(self) -> str:
        """Its line in .config."""
        if self.value == "n":
            return f"# CONFIG_{self.symbol} is not set"
        return f"CONFIG_{self.symbol}={self.value}"


@dataclass(frozen=True)
class Change:
    """A symbol whose value differs; one that is absent is "n", as Kconfig takes it."""

    symbol: str
    before: str
    after: str


def parse(text: str) -> dict[str, str]:
    """Values by symbol; of a symbol that is there twice the last, as Kconfig reads it."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if match := _SET.fullmatch(line.strip()):
            found[match[1]] = match[2]
        elif match := _UNSET.fullmatch(line.strip()):
            found[match[1]] = "n"
    return found


def fragment(text: str, name: str) -> tuple[Option, ...]:
    """The options of a fragment, a part of a .config. GpuwrightError names a line that is none."""
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#") and not _SET.fullmatch(stripped):
            raise GpuwrightError.of(
                f"fragment {name}, line {number}",
                f"{stripped[:80]!r}",
                "CONFIG_SYMBOL=value, `# CONFIG_SYMBOL is not set`, or a comment",
                "Correct the line.",
            )
    return tuple(Option(symbol, value) for symbol, value in parse(text).items())


def rendered(options: Iterable[Option]) -> str:
    """Options as lines of a .config."""
    return "".join(f"{option.line()}\n" for option in options)


def merged(text: str, options: Iterable[Option]) -> str:
    """A .config with the options in place of what it said of their symbols, the rest as it was."""
    wanted = tuple(options)
    symbols = {option.symbol for option in wanted}
    kept = [line for line in text.splitlines() if not symbols & parse(line).keys()]
    return "\n".join([*kept, rendered(wanted)])


def dropped(final: Mapping[str, str], wanted: Iterable[Option]) -> tuple[Option, ...]:
    """The options that a finished configuration does not have."""
    return tuple(option for option in wanted if final.get(option.symbol, "n") != option.value)


def difference(
    before: Mapping[str, str], after: Mapping[str, str], wanted: Iterable[Option]
) -> tuple[Change, ...]:
    """What changed: wanted options, then all others that are switches; texts and numbers describe the tools."""
    first = [option.symbol for option in wanted]
    rest = sorted((before.keys() | after.keys()) - set(first))
    changes = [Change(s, before.get(s, "n"), after.get(s, "n")) for s in [*first, *rest]]
    return tuple(
        change
        for change in changes
        if change.before != change.after
        and (change.symbol in first or (change.before in _SWITCH and change.after in _SWITCH))
    )
