"""What drivers said in the kernel's log since the boot, and which of it is about the cards."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from gpuwright.catalog.row import Row

_XID = re.compile(r"NVRM: Xid \((?:PCI:)?([0-9a-fA-F:.]+)\): (\d+)")
# One message of several lines, of which a log may prefix each.
_MISMATCH = re.compile(
    r"API mismatch: the client '?([^'\n]*?)'?\s*\(pid[^)]*\)[^\n]*\n[^\n]*has the version ([0-9.]+)[^\n]*\n"
    r"[^\n]*kernel module has the version ([0-9]+(?:\.[0-9]+)*)"
)
# What the host filters the log for, beside the catalogue's lines.
_WANTED = ("NVRM: Xid ", "NVRM: API mismatch", "NVRM: +(this kernel module )?has the version")


class XidRow(Row):
    """Xid numbers that mean one thing."""

    numbers: tuple[int, ...]
    means: str
    what: str


class LineRow(Row):
    """A line of a driver's log that means trouble."""

    driver: str
    pattern: str
    what: str


@dataclass(frozen=True)
class Fault:
    """Something that was logged `count` times. `means` is an Xid row's, or unknown for a number without a row."""

    what: str
    where: str
    means: str
    count: int

    def __str__(self) -> str:
        times = f", {self.count} times" if self.count > 1 else ""
        return f"{self.what} ({self.where}{times})"


@dataclass(frozen=True)
class Mismatch:
    """A program whose NVIDIA libraries were of another version than the loaded module."""

    client: str
    userspace: str
    module: str


@dataclass(frozen=True)
class KernelLog:
    """Drivers' lines of weight; `whole`: the log reaches back to the boot."""

    whole: bool
    text: str

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Xid messages and lines of the catalogue, each once."""
        return tuple(Fault(*fault, count) for fault, count in Counter(_faults(self.text)).items())

    @property
    def mismatches(self) -> tuple[Mismatch, ...]:
        """Programs that met a module of another version, each once."""
        return tuple(dict.fromkeys(Mismatch(*found) for found in _MISMATCH.findall(self.text)))


def patterns() -> str:
    """One extended regular expression for all lines that are read here."""
    return "|".join((*_WANTED, *(row.pattern for row in _lines())))


def parse(text: str | None) -> KernelLog | None:
    """The section `kernel_log`: `whole` or `cut`, then the lines. None where the log could not be read."""
    head, _, rest = (text or "").strip("\n").partition("\n")
    return KernelLog(head == "whole", rest) if head in ("whole", "cut") else None


def _faults(text: str) -> Iterator[tuple[str, str, str]]:
    for line in text.splitlines():
        xid = _XID.search(line)
        if xid:
            number = int(xid[2])
            row = next((row for row in _xids() if number in row.numbers), None)
            what = f"Xid {number}: {row.what}" if row else f"Xid {number}"
            yield what, xid[1], row.means if row else "unknown"
            continue
        named = next((row for row in _lines() if re.search(row.pattern, line)), None)
        if named:
            yield named.what, named.driver, "reset"


@cache
def _xids() -> tuple[XidRow, ...]:
    return tuple(XidRow.model_validate(row) for row in _file()["xid"])


@cache
def _lines() -> tuple[LineRow, ...]:
    return tuple(LineRow.model_validate(row) for row in _file()["line"])


def _file() -> dict[str, list[dict[str, object]]]:
    text = (files("gpuwright.catalog") / "kernel_log.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
