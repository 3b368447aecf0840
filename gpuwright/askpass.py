"""The password of sudo and su: on a host it is in a file of the SSH user's own, and among the words of no command.

pyinfra writes it into every command line (`env PYINFRA_SUDO_PASSWORD=...`), which every user of a host reads in
/proc/*/cmdline. Here it travels once for each connection, through the stdin of a process that removes the file when
the connection ends.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import cast

from paramiko import SSHException
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.connectors import local, ssh, util

from gpuwright import attached
from gpuwright.errors import GpuwrightError

# What pyinfra is given in the password's place, because with none it would not ask for one.
PLACEHOLDER = "in-the-askpass-file"
_FOUND = "gpuwright askpass "
# The keys of pyinfra's arguments: who becomes root, with which password, through which helper.
_KINDS = (("_sudo", "_sudo_password", "_sudo_askpass_path"), ("_su_user", "_su_password", "_su_askpass_path"))
# pyinfra removes the files below keys with this prefix when it hangs up, and forgets them after a reboot.
_CACHE = "sudo_askpass_path__gpuwright"

# The first directory that is ours, or in memory, and that may hold programs (/dev/shm is often mounted noexec).
# A file without a lock is what a process left that was killed itself; a new one may not have its lock yet.
_HOLD = f"""
umask 077
file=
for directory in "$XDG_RUNTIME_DIR" /dev/shm "${{TMPDIR:-/tmp}}"; do
    [ -n "$directory" ] && file=$(mktemp "$directory/gpuwright-askpass-XXXXXXXXXXXX" 2>/dev/null) || continue
    printf '#!/bin/sh\\nexit 0\\n' >"$file"
    chmod 0700 "$file"
    "$file" 2>/dev/null && break
    rm -f "$file"
    file=
done
if [ -z "$file" ]; then echo "neither /dev/shm nor /tmp lets the user keep a program" >&2; exit 1; fi
trap 'rm -f "$file"' EXIT
trap exit HUP INT TERM
exec 9<"$file"
flock 9
find "$directory" -maxdepth 1 -type f -user "$(id -u)" -name 'gpuwright-askpass-*' -mmin +1 \\
    -exec flock --nonblock {{}} rm -f {{}} \\;
{{ printf '#!/bin/sh\\nexec sed -n 3p "$0"\\n'; head -n 1; }} >"$file"
echo "{_FOUND}$file"
cat >/dev/null
"""

# pyinfra leaves this without annotations.
_make_unix_command = cast(Callable[..., StringCommand], util.make_unix_command)


def keep_off_the_command_line() -> None:
    """From now on no command that pyinfra makes in this process has a password in it."""
    for module in (util, ssh, local):  # each has its own name for the function
        module.make_unix_command_for_host = unix_command  # type: ignore[attr-defined]


def unix_command(state: State, host: Host, command: StringCommand, **arguments: object) -> StringCommand:
    """`command` as the host's shell gets it, with the sudo or su of `arguments`; pyinfra's function of that name.

    Raises PyinfraError where the password cannot be put on the host.
    """
    for switch, password_key, path_key in _KINDS:
        password = arguments.get(password_key)
        if switch == "_sudo" and not password:
            password = host.connector_data.get("prompted_sudo_password")
        if arguments.get(switch) and password:
            arguments[path_key] = _helper(host, str(password))
            arguments[password_key] = PLACEHOLDER
    return _make_unix_command(command, **arguments)


def _helper(host: Host, password: str) -> str:
    """The path of a program on the host that prints `password`, for as long as the connection lasts."""
    key = f"{_CACHE}_{hash(password)}"
    known = host.connector_data.get(key)
    if known:
        return str(known)
    try:
        line = f"exec sh -c {shlex.quote(_HOLD)}"
        holder = attached.start(host, line, f"sudo of {host.name}", f"{password}\n")
        for said in holder.stdout:
            if said.startswith(_FOUND):
                path = said.removeprefix(_FOUND).rstrip("\n")
                host.connector_data[key] = path
                host.connector_data[f"gpuwright_{key}"] = holder
                return path
        lines = [line for line in holder.stderr if line.strip()]
        reason = lines[-1].strip() if lines else "it said nothing"
    except (GpuwrightError, SSHException, EOFError, OSError) as error:
        reason = str(error) or type(error).__name__
    raise PyinfraError(f"sudo's password could not be handed to the host ({reason})")
