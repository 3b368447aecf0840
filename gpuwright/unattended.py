"""A run that nobody watches: it must end with an exit code, not wait at a prompt.

pyinfra asks whether to go on when a host fails, before it executes, for sudo's password, for a key's passphrase
and about an unknown host key. Without a terminal each is a wait or an EOFError in the middle of a run, and its
functions overrule every setting: hence they are replaced.
"""

from __future__ import annotations

import sys
from typing import NoReturn, TextIO

from paramiko import SSHException
from pyinfra import logger
from pyinfra.api.exceptions import ConnectError
from pyinfra.connectors import ssh_util
from pyinfra.connectors import util as connector_util
from pyinfra.connectors.sshuserclient import client as ssh_client

from gpuwright.access import NoTerminal


def never_prompt_without_a_terminal() -> None:
    """With stdin no terminal: unconfirmed runs end with 1 and nobody is asked.

    With one, too, a failed host drops out alone: what is left to confirm is the plan.
    """
    command_line = sys.modules.get("pyinfra_cli.cli")
    if command_line is not None:
        command_line._set_fail_prompts = _no_prompts  # type: ignore[attr-defined]
    if sys.stdin.isatty():
        return
    connector_util.getpass = _no_sudo_password  # type: ignore[assignment]
    ssh_util.getpass = _no_passphrase  # type: ignore[assignment]
    ssh_client.input = _no_host_key  # type: ignore[attr-defined]  # in front of the builtin
    if command_line is not None:
        command_line._do_confirm = _not_confirmed  # type: ignore[attr-defined]


def _no_prompts(state: object, config: object) -> None:
    """FAIL_PERCENT stays None: a failed host never stops the others."""


def _not_confirmed(message: str) -> NoReturn:
    logger.error("Nothing was executed: no terminal to confirm on. Add -y, or --dry to only look.")
    sys.exit(1)


def _no_sudo_password(prompt: str, stream: TextIO | None = None) -> NoReturn:
    raise NoTerminal("sudo asks for a password, none is declared, and there is no terminal to ask on")


def _no_passphrase(prompt: str, stream: TextIO | None = None) -> NoReturn:
    raise ConnectError("the private key is encrypted and ssh_key_password is not set")


def _no_host_key(prompt: str) -> NoReturn:
    raise SSHException("its host key is not known, and there is no terminal to ask on")
