"""pyinfra's log while a host is looked at or changed in process: kept as data, and off everybody's output."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

from typing_extensions import override

_PREFIX = re.compile(r"^\[[^]]*\]\s*")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# pyinfra's own words about operations, for which the caller has its own.
_STATUS = re.compile(r"-->|Connected|Success|No changes|Skipped|noop: ")


class Log(logging.Handler):
    """What pyinfra says meanwhile: lines for people, and why a fact could not be read.

    `say` gets each line at once, for work that takes long.
    """

    def __init__(self, say: Callable[[str], None] = lambda line: None) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._say = say
        logger = logging.getLogger("pyinfra")
        logger.handlers, logger.propagate = [self], False
        logger.setLevel(logging.INFO)

    @override
    def emit(self, record: logging.LogRecord) -> None:
        text = _PREFIX.sub("", _COLOUR.sub("", record.getMessage())).strip()
        if record.levelno >= logging.WARNING:
            self.errors.append(text)
        elif not _STATUS.match(text):
            self.lines.append(text)
            self._say(text)

    def clear(self) -> None:
        self.lines, self.errors = [], []
