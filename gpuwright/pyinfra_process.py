"""pyinfra's own process, prepared by config.py: input that is wrong gives one sentence and exit code 1.

pyinfra shows a traceback for an inventory that does not parse, succeeds without a host for one that is missing,
and ends the run of all hosts for one missing key file. Nothing here imports its command line package: the parts
that are replaced are found in the running process.
"""

from __future__ import annotations

import difflib
import logging
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

from paramiko import PKey
from pyinfra import logger
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import BaseStateCallback, State
from pyinfra.connectors import ssh
from typing_extensions import override

from gpuwright import inventory, locks, refused
from gpuwright.askpass import keep_off_the_command_line
from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.paths import ROOT
from gpuwright.session import unreachable
from gpuwright.unattended import never_prompt_without_a_terminal

_COMMAND_LINE = "pyinfra_cli.cli"
# Where pyinfra reads passwords in a host's data.
_PASSWORDS = ("_sudo_password", "_su_password", "ssh_password", "ssh_key_password")
_prepared: set[str] = set()


def prepare() -> None:
    """Give the pyinfra command clear errors, no prompts without a terminal, and no password in a command line."""
    command_line = sys.modules.get(_COMMAND_LINE)
    if command_line is None or _prepared:
        return
    _prepared.add(_COMMAND_LINE)
    never_prompt_without_a_terminal()
    keep_off_the_command_line()
    command_line.make_inventory = _clear_inventory(command_line.make_inventory)  # type: ignore[attr-defined]
    command_line._apply_inventory_limit = _clear_limit(  # type: ignore[attr-defined]
        command_line._apply_inventory_limit
    )
    command_line.connect_all = _remembering(command_line.connect_all)  # type: ignore[attr-defined]
    ssh.get_private_key = _key_of_one_host(ssh.get_private_key)  # type: ignore[assignment]


def must_be_prepared() -> None:
    """Raise PyinfraError, which pyinfra shows as a sentence, where it has not read our config.py.

    It looks for it in the current directory, before it connects: too early for a deploy file to make up for.
    """
    if _COMMAND_LINE in sys.modules and not _prepared:
        raise PyinfraError(
            f"config.py was not read in {Path.cwd()}; required: a run in the checkout, whose config.py keeps "
            f"prompts away and errors clear. Run `cd {ROOT}` first, or add `--chdir {ROOT}`; nothing was changed."
        )


def _remembering(connect_all: Callable[[State], None]) -> Callable[[State], None]:
    def connect(state: State) -> None:
        state.add_callback_handler(_Unreachable())
        logger.addFilter(_Masking(state.inventory))
        connect_all(state)

    return connect


class _Masking(logging.Filter):
    """With --debug pyinfra logs how it connects and becomes root, passwords included.

    Other messages stay as they are: a password may be a word, or a host's name.
    """

    def __init__(self, made: Inventory) -> None:
        super().__init__()
        given = {str(host.data.get(key) or "") for host in made for key in _PASSWORDS} - {""}
        self._shown = sorted({*given, *(repr(value)[1:-1] for value in given)}, key=len, reverse=True)

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno > logging.DEBUG:
            return True
        text = record.getMessage()
        for value in self._shown:
            text = text.replace(value, "***")
        record.msg, record.args = text, ()
        return True


class _Unreachable(BaseStateCallback):
    @override
    @staticmethod
    def host_connect_error(state: State, host: Host, error: Exception) -> None:
        refused.remember(
            refused.UNREACHABLE, host.name, (unreachable(host.name, host.data.dict(), str(error)),)
        )


def _clear_inventory(make: Callable[..., Inventory]) -> Callable[..., Inventory]:
    def make_inventory(name: str, *arguments: object, **options: object) -> Inventory:
        path = Path(name)
        a_path = path.is_dir() or "/" in name or name.endswith(".py")
        if a_path and not {"@", ","} & set(name) and not path.is_file():
            _stop(_missing(name, path))
        try:
            made = make(name, *arguments, **options)
        except Exception:
            # Our own reader of the same file knows the line; what it accepts is pyinfra's to complain about.
            if path.is_file():
                _diagnose(path)
            raise
        if not len(made):
            _stop(
                Refusal(
                    f"inventory {name}",
                    "it declares no host",
                    "a file with lists of hosts, host names with commas between, or a connector",
                    "Add hosts to it, or name another one.",
                )
            )
        if path.is_file():
            for host in made:
                if not host.data.get(locks.DATUM):
                    made.host_data[host.name][locks.DATUM] = locks.beside(path)
        return made

    return make_inventory


def _missing(name: str, path: Path) -> Refusal:
    there = [str(file.relative_to(Path.cwd())) for file in sorted((Path.cwd() / "inventories").glob("*.py"))]
    close = difflib.get_close_matches(name, there, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"In inventories/ are: {', '.join(there) or 'none'}."
    observed = "this is a directory" if path.is_dir() else "there is no such file"
    return Refusal(f"inventory {name}", observed, "an inventory file", hint)


def _diagnose(path: Path) -> None:
    try:
        inventory.load(path)
    except GpuwrightError as error:
        _stop(*error.refusals)


def _clear_limit(
    apply: Callable[[Inventory, Iterable[str] | None], list[Host] | None],
) -> Callable[[Inventory, Iterable[str] | None], list[Host] | None]:
    def apply_limit(made: Inventory, limit: Iterable[str] | None) -> list[Host] | None:
        patterns = list(limit or ())
        hosts = {pattern: apply(made, [pattern]) or [] for pattern in patterns}
        known = [host.name for host in made]
        unmatched = [pattern for pattern, found in hosts.items() if not found]
        if unmatched:
            _stop(*(_no_host(pattern, known) for pattern in unmatched))
        return list({host for found in hosts.values() for host in found}) if patterns else None

    return apply_limit


def _no_host(pattern: str, known: list[str]) -> Refusal:
    close = difflib.get_close_matches(pattern, known, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"Hosts are: {', '.join(known)}."
    return Refusal(
        f"--limit {pattern}",
        "no host or group matches",
        "a host, group or glob pattern (--limit once for each)",
        hint,
    )


def _key_of_one_host(get: Callable[[State, str, str], PKey]) -> Callable[[State, str, str], PKey]:
    def get_private_key(state: State, key_filename: str, key_password: str) -> PKey:
        try:
            return get(state, key_filename, key_password)
        except PyinfraError as error:
            # Any other error would end the run for all hosts.
            raise ConnectError(str(error)) from error

    return get_private_key


def _stop(*refusals: Refusal) -> NoReturn:
    for refusal in refusals:
        logger.error(f"Refused: {refusal}")
    sys.exit(1)
