"""The only jinja2 environment: templates in, text out, and no undefined name passes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields
from functools import cache

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gpuwright.paths import ROOT
from gpuwright.plan.model import ManagedFile


def render(file: ManagedFile) -> str:
    """The file's text. Raises jinja2.UndefinedError for a name that its context lacks."""
    context = {f.name: getattr(file.context, f.name) for f in fields(file.context)} if file.context else {}  # type: ignore[arg-type]
    return _environment().get_template(file.template).render(context)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(ROOT / "templates"),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["systemd_lines"] = systemd_lines
    return environment


def systemd_lines(words: Iterable[str]) -> list[str]:
    """The words of a command line in a unit file, each option with its values on a line of its own.

    >>> systemd_lines(["model", "-c", "512", "-fit", "off"])
    ['model', '-c 512', '-fit off']
    """
    lines: list[str] = []
    for word in words:
        if lines and not word.startswith("-"):
            lines[-1] += f" {systemd_word(word)}"
        else:
            lines.append(systemd_word(word))
    return lines


def systemd_word(text: str) -> str:
    """A word of a command line in a unit file, taken literally: systemd.service(5), "Command lines".

    >>> systemd_word("-c"), systemd_word('{"a": "100%"}'), systemd_word("")
    ('-c', '"{\\\\"a\\\\": \\\\"100%%\\\\"}"', '""')
    """
    literal = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return literal if re.fullmatch(r"[A-Za-z0-9_@/.,:=+%$-]+", text) and text != "-" else f'"{literal}"'
