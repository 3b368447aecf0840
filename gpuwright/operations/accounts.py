"""What exists only on the host: accounts, and environment files with keys made there."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from pyinfra import host
from pyinfra.api import FactBase, operation
from pyinfra.api.command import PyinfraCommand, StringCommand
from typing_extensions import override

from gpuwright.errors import Refusal
from gpuwright.operations.gpu_words import GPU_WORDS
from gpuwright.operations.readings import Pairs
from gpuwright.operations.shell import failure, fields, script, show, will_change
from gpuwright.plan.model import EnvFile, SystemUser

NO_SHELL = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false")


@dataclass(frozen=True)
class AccountState:
    """An account of the host: `groups` are all of its groups, the primary one first; `password` is passwd(1)'s word."""

    uid: str
    shell: str
    groups: tuple[str, ...]
    password: str


class Accounts(FactBase[dict[str, AccountState]]):
    """The accounts among `names` that exist."""

    @override
    def command(self, names: tuple[str, ...]) -> StringCommand:
        return script(
            """
            for name; do
                line=$(getent passwd "$name") || continue
                password=$(passwd --status "$name" | cut -d' ' -f2) || exit
                # A primary group that is gone has a number and no name.
                groups=$(id -Gn "$name" 2>/dev/null)
                printf '%s\\t%s\\t%s\\t%s\\t%s\\n' "$name" "$(id -u "$name")" "${line##*:}" "$groups" "$password"
            done
            """,
            *names,
        )

    @override
    @staticmethod
    def default() -> dict[str, AccountState]:
        return {}

    @override
    def process(self, output: list[str]) -> dict[str, AccountState]:
        return {
            name: AccountState(uid, shell, tuple(groups.split()), password)
            for name, uid, shell, groups, password in fields(output, 5)
        }


class EnvFileStates(Pairs):
    """`ok`, or what is wrong with an environment file; the key itself never leaves the host.

    `files` are (path, name of the key, account, way of GPUs, their addresses with blanks between).
    """

    @override
    def command(self, files: tuple[tuple[str, str, str, str, str], ...]) -> StringCommand:
        return script(
            GPU_WORDS
            + """
            judge() {
                [ -f "$1" ] || { echo absent; return; }
                [ "$(stat -c '%a %U:%G' "$1")" = '600 root:root' ] || { echo 'mode or owner'; return; }
                grep -Eq "^$2=[0-9a-f]{64}\\$" "$1" || { echo 'no key'; return; }
                grep -qx "GPUWRIGHT_UID=$(id -u "$3")" "$1" || { echo 'user id'; return; }
                grep -qx "GPUWRIGHT_GID=$(id -g "$3")" "$1" || { echo 'group id'; return; }
                # shellcheck disable=SC2086  # addresses
                grep -qxF "GPUWRIGHT_GPUS=$(gpu_words "$4" $5)" "$1" || { echo 'GPUs'; return; }
                echo ok
            }
            while [ $# -gt 0 ]; do
                printf '%s\\t%s\\n' "$1" "$(judge "$1" "$2" "$3" "$4" "$5" 2>/dev/null)"
                shift 5
            done
            """,
            *(value for file in files for value in file),
        )


@operation()
def users(users: tuple[SystemUser, ...]) -> Generator[PyinfraCommand]:
    """
    Have system accounts that nobody can log in to, each in its own group alone.

    + users: the numeric ids are the host's choice; an account with root's is refused
    """
    if not users:
        return
    there = host.get_fact(Accounts, names=tuple(user.name for user in users))
    for user in users:
        state = there.get(user.name)
        if state is None:
            show(f"{user.name}: no account -> a system account without login")
            yield script(
                """
                # Made apart: useradd's own way fails where the group is there already.
                if ! getent group "$1" >/dev/null; then groupadd --system "$1" || exit; fi
                useradd --system --gid "$1" --home-dir "$2" --no-create-home --shell /usr/sbin/nologin "$1"
                """,
                user.name,
                user.home,
            )
        elif state.uid == "0":
            observed = "it has root's user id"
            remedy = f"See who did that; then usermod --uid an id of its own {user.name}, and run again."
            yield failure(Refusal(f"account {user.name}", observed, "an account of its own", remedy))
        elif wrong := tuple(differences(user.name, state)):
            show(*(f"{user.name}: {text}" for text in wrong))
            yield script(
                """
                if ! getent group "$1" >/dev/null; then groupadd --system "$1" || exit; fi
                usermod --lock --shell /usr/sbin/nologin --gid "$1" --groups '' "$1"
                """,
                user.name,
            )
        else:
            host.noop(f"account {user.name} is without login")


@operation()
def env_files(files: tuple[EnvFile, ...]) -> Generator[StringCommand]:
    """
    Write root-only environment files: a key of 256 random bits, made once and kept, the account's ids, and GPUs.

    + files: one for each service
    """
    if not files:
        return
    states = host.get_fact(EnvFileStates, files=tuple(_asked(file) for file in files))
    for file in files:
        if states.get(file.path) == "ok":
            host.noop(f"{file.path} is complete")
            continue
        will_change(file.path)
        show(f"{file.path}: {states.get(file.path, 'absent')} -> complete")
        yield script(
            GPU_WORDS
            + """
            set -e
            umask 077
            # shellcheck disable=SC2086  # addresses
            gpus=$(gpu_words "$4" $5)
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
                printf 'GPUWRIGHT_GPUS=%s\\n' "$gpus"
            } > "$1.new"
            mv -f -T "$1.new" "$1"
            rm -f "$1.removed"
            """,
            *_asked(file),
        )


def _asked(file: EnvFile) -> tuple[str, str, str, str, str]:
    return file.path, file.key, file.user, file.gpu_way, " ".join(file.gpus)


def differences(name: str, state: AccountState) -> Generator[str]:
    """What of an account is not as it was made, and what it will be."""
    if state.shell not in NO_SHELL:
        yield f"shell {state.shell} -> no login"
    if state.password not in ("L", "LK"):
        yield "a password, or none -> locked"
    if state.groups != (name,):
        yield f"groups {' '.join(state.groups) or 'without a name'} -> {name}"
