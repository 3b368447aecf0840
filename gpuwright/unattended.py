"""A run that nobody watches: it must end with an exit code, not wait at a prompt.

pyinfra's command line asks whether to go on when a host fails, and before it executes; without a terminal that
is an EOFError in the middle of a run. Its two functions are replaced, because they overrule every setting.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from pyinfra import logger


def never_prompt_without_a_terminal() -> None:
    """In pyinfra's own process, with stdin no terminal: failed hosts drop out alone, unconfirmed runs end with 1."""
    command_line = sys.modules.get("pyinfra_cli.cli")
    if command_line is None or sys.stdin.isatty():
        return
    command_line._set_fail_prompts = _no_prompts  # type: ignore[attr-defined]
    command_line._do_confirm = _not_confirmed  # type: ignore[attr-defined]


def _no_prompts(state: object, config: object) -> None:
    """FAIL_PERCENT stays None: a failed host never stops the others."""


def _not_confirmed(message: str) -> NoReturn:
    logger.error("Nothing was executed: no terminal to confirm on. Add -y, or --dry to only look.")
    sys.exit(1)
