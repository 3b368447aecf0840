"""Root on a host, or one sentence why not: decided by the first command, before anything else is tried.

A fact would log sudo's words, fail the host and give an empty answer, which the next reader then misunderstands.
"""

from __future__ import annotations

from collections.abc import Mapping

from paramiko import SSHException
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host

from gpuwright.errors import GpuwrightError

_NOT_ROOT = "gpuwright: user id"
# Words of sudo and sudo-rs, and what they mean for whoever wrote the inventory.
_REASONS = (
    (
        ("not in the sudoers", "may not run sudo", "not allowed to execute", "I'm afraid I can't do that"),
        "the SSH user has no sudo rights",
        "Give them to it, or set ssh_user to an account that has them.",
    ),
    (
        ("incorrect password", "Sorry, try again", "incorrect authentication", "Authentication failed"),
        "sudo did not accept the password",
        "Correct _sudo_password; on some systems a few wrong ones lock the account for a while.",
    ),
    (
        ("sudo: not found", "sudo: command not found", "sudo: No such file"),
        "sudo is not installed",
        "Install it as root, or set ssh_user to root and _sudo to False.",
    ),
)
_BECOME = "Set _sudo = True for the host (in an Ansible play become: true), or log in as root."
_PASSWORD = "Set _sudo_password for the host, allow NOPASSWD, or run in a terminal, where you are asked."


class NoTerminal(OSError):
    """A prompt that nobody can answer; an OSError, which pyinfra takes for a failure of one host."""


def read_as_root(host: Host, command: StringCommand) -> list[str]:
    """The output lines of `command`, run with the sudo that the host's data declares.

    Raises GpuwrightError where commands cannot run, or do not run as root.
    """
    guarded = StringCommand(
        'if [ "$(id -u)" = 0 ]; then', command, f"; else printf '{_NOT_ROOT} %s\\n' \"$(id -u)\"; fi"
    )
    try:
        ok, output = host.run_shell_command(guarded, **_arguments(host))
    except NoTerminal as error:
        raise _no_root("sudo asks for a password and none is declared", _PASSWORD) from error
    except (TimeoutError, OSError, EOFError, SSHException, PyinfraError) as error:
        observed = f"the first command failed ({error or type(error).__name__})"
        raise _no_root(observed, "Look at the host and its SSH service.") from error
    lines = list(output.stdout_lines)
    if ok and lines and lines[0].startswith(_NOT_ROOT):
        user = lines[0].removeprefix(_NOT_ROOT).strip()
        raise _no_root(
            f"commands run as user id {user}",
            _BECOME,
        )
    if not ok:
        raise denied([line for line in output.output_lines if line.strip()])
    return lines


def denied(said: list[str]) -> GpuwrightError:
    """What the lines that sudo, or the shell, said mean."""
    for words, meaning, remedy in _REASONS:
        if any(word in line for line in said for word in words):
            return _no_root(f"{meaning} ({said[-1].strip()})", remedy)
    last = said[-1].strip() if said else "no output"
    return _no_root(f"the first command failed ({last})", "Look at the host and its SSH and sudo settings.")


def _arguments(host: Host) -> Mapping[str, object]:
    # Read at call time and never kept: it holds the sudo password.
    given: Mapping[str, object] = dict(pop_global_arguments(host.state, host, {})[0])
    return {key: value for key, value in given.items() if key in CONNECTOR_ARGUMENT_KEYS}


def _no_root(observed: str, remedy: str) -> GpuwrightError:
    return GpuwrightError.of("root access", observed, "commands that run as root", remedy)
