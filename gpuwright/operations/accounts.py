"""What exists only on the host: accounts, and environment files with keys made there."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import StringCommand
from typing_extensions import override

from gpuwright.operations.readings import Lines, Pairs
from gpuwright.operations.shell import script, show, will_change
from gpuwright.plan.model import EnvFile, SystemUser


class Accounts(Lines):
    """The accounts among `names` that exist."""

    @override
    def command(self, names: tuple[str, ...]) -> StringCommand:
        return script('for name; do if getent passwd "$name" >/dev/null; then echo "$name"; fi; done', *names)


class EnvFileStates(Pairs):
    """`ok`, or what is wrong with an environment file; the key itself never leaves the host.

    `files` are (path, name of the key, account).
    """

    @override
    def command(self, files: tuple[tuple[str, str, str], ...]) -> StringCommand:
        return script(
            """
            judge() {
                [ -f "$1" ] || { echo absent; return; }
                [ "$(stat -c '%a %U:%G' "$1")" = '600 root:root' ] || { echo 'mode or owner'; return; }
                grep -Eq "^$2=[0-9a-f]{64}\\$" "$1" || { echo 'no key'; return; }
                grep -qx "GPUWRIGHT_UID=$(id -u "$3")" "$1" || { echo 'user id'; return; }
                grep -qx "GPUWRIGHT_GID=$(id -g "$3")" "$1" || { echo 'group id'; return; }
                echo ok
            }
            while [ $# -gt 0 ]; do
                printf '%s\\t%s\\n' "$1" "$(judge "$1" "$2" "$3" 2>/dev/null)"
                shift 3
            done
            """,
            *(value for file in files for value in file),
        )


@operation()
def users(users: tuple[SystemUser, ...]) -> Generator[StringCommand]:
    """
    Create system accounts that nobody can log in to.

    + users: the numeric ids are the host's choice
    """
    if not users:
        return
    there = host.get_fact(Accounts, names=tuple(user.name for user in users))
    for user in users:
        if user.name in there:
            host.noop(f"account {user.name} exists")
            continue
        yield script(
            'useradd --system --user-group --home-dir "$2" --no-create-home --shell /usr/sbin/nologin "$1"',
            user.name,
            user.home,
        )


@operation()
def env_files(files: tuple[EnvFile, ...]) -> Generator[StringCommand]:
    """
    Write root-only environment files: a key of 256 random bits, made once and kept, and the account's ids.

    + files: one for each service
    """
    if not files:
        return
    states = host.get_fact(EnvFileStates, files=tuple((file.path, file.key, file.user) for file in files))
    for file in files:
        if states.get(file.path) == "ok":
            host.noop(f"{file.path} is complete")
            continue
        will_change(file.path)
        show(f"{file.path}: {states.get(file.path, 'absent')} -> complete")
        yield script(
            """
            set -e
            umask 077
            mkdir -p -m 0755 "$(dirname "$1")"
            # The key of a service that was dropped and is declared again is still its clients' key.
            for file in "$1" "$1.removed"; do
                if [ -f "$file" ] && [ -z "${key:-}" ]; then
                    key=$(sed -n "s/^$2=\\([0-9a-f]\\{64\\}\\)\\$/\\1/p" "$file")
                fi
            done
            [ -n "${key:-}" ] || key=$(od -An -tx1 -N32 /dev/urandom | tr -d ' \\n')
            {
                printf '%s=%s\\n' "$2" "$key"
                printf 'GPUWRIGHT_UID=%s\\nGPUWRIGHT_GID=%s\\n' "$(id -u "$3")" "$(id -g "$3")"
            } > "$1.new"
            mv -f -T "$1.new" "$1"
            rm -f "$1.removed"
            """,
            file.path,
            file.key,
            file.user,
        )
