"""Who becomes root and how, in pyinfra's words (`_sudo`, `_su_user`) and in Ansible's (`ansible_become`)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from gpuwright.ansible.spellings import one_of, truth
from gpuwright.errors import GpuwrightError

# sudo's flags as Ansible has them by default; su has none.
_SUDO_FLAGS = ("-H", "-S", "-n")
_LOGIN, _KEEP = {"sudo": "-i", "su": "-l"}, {"sudo": "-E", "su": "-m"}
# The last two are no part of ansible-core: their collection must be installed.
_METHODS = {
    "sudo": "sudo",
    "su": "su",
    "doas": "community.general.doas",
    "dzdo": "community.general.dzdo",
}

# Each one's spellings; `{}` stands for the method.
_USER = ("ansible_become_user", "ansible_{}_user")
_PASSWORD = ("ansible_become_password", "ansible_become_pass", "ansible_{}_pass")
_FLAGS = ("ansible_become_flags", "ansible_{}_flags")
_EXECUTABLE = ("ansible_become_exe", "ansible_{}_exe")

# Host data, and variables, that this module answers for.
DATA = frozenset(
    [
        "_sudo",
        "_sudo_user",
        "_sudo_password",
        "_use_sudo_login",
        "_preserve_sudo_env",
        "_su_user",
        "_su_password",
        "_use_su_login",
        "_preserve_su_env",
        "_su_shell",
        "_doas",
        "_doas_user",
        "_dzdo",
        "_dzdo_user",
    ]
)
VARIABLES = frozenset(
    ["ansible_become", "ansible_become_method"]
    + [
        spelling.format(method)
        for method in _METHODS
        for spellings in (_USER, _PASSWORD, _FLAGS, _EXECUTABLE)
        for spelling in spellings
    ]
)


def variables(host: str, data: Mapping[str, object]) -> dict[str, object]:
    """Ansible's variables for pyinfra's; GpuwrightError where two methods are on at once."""
    switches = {"sudo": "_sudo", "su": "_su_user", "doas": "_doas", "dzdo": "_dzdo"}
    chosen = [method for method, key in switches.items() if data.get(key)]
    if len(chosen) > 1:
        keys = " and ".join(switches[method] for method in chosen)
        raise GpuwrightError.of(
            f"host {host}", f"has {keys}", "one way to become root under Ansible", "Leave one of them."
        )
    found: dict[str, object] = {}
    if chosen:
        found |= {"ansible_become": True, "ansible_become_method": _METHODS[chosen[0]]}
    elif "_sudo" in data:
        found["ansible_become"] = False
    method = chosen[0] if chosen else "sudo"  # a play may say `become: true` itself
    said = {
        "ansible_become_user": data.get(f"_{method}_user"),
        "ansible_become_password": data.get(f"_{method}_password"),
        "ansible_become_flags": _flags(method, data),
    }
    return found | {name: value for name, value in said.items() if value not in (None, "")}


def data(host: str, variables: Mapping[str, object]) -> dict[str, object]:
    """pyinfra's host data for Ansible's variables; GpuwrightError where one has no equivalent."""
    method = str(variables.get("ansible_become_method") or "sudo")
    short = next((name for name, full in _METHODS.items() if method.rpartition(".")[2] == name), None)
    if short is None:
        raise GpuwrightError.of(
            f"host {host}, ansible_become_method", method, "sudo, su, doas or dzdo", "Choose one of them."
        )
    become = variables.get("ansible_become")
    on = None if become is None else truth(host, "ansible_become", become)
    user, password, flags, executable = (
        one_of(host, variables, [spelling.format(short) for spelling in spellings])
        for spellings in (_USER, _PASSWORD, _FLAGS, _EXECUTABLE)
    )
    if executable not in (None, "", short):
        raise GpuwrightError.of(
            f"host {host}, {_EXECUTABLE[0]}", str(executable), f"{short} itself", "Take it out."
        )
    if short == "sudo":
        switch = {} if on is None else {"_sudo": on}
    elif on is False:
        return {"_sudo": False}
    else:
        # Whoever names another method means it, even where only the play says `become: true`.
        switch = {"_sudo": False} if short == "su" else {"_sudo": False, f"_{short}": True}
        user = user or ("root" if short == "su" else None)
    if password and short in ("doas", "dzdo"):
        raise GpuwrightError.of(
            f"host {host}, {_PASSWORD[0]}",
            f"a password for {short}",
            "none: pyinfra has no way to give it",
            "Use sudo, or a rule without a password.",
        )
    said = {f"_{short}_user": user, f"_{short}_password": password}
    kept = {key: value for key, value in said.items() if value not in (None, "")}
    return switch | kept | _from_flags(host, short, flags)


def _flags(method: str, data: Mapping[str, object]) -> str | None:
    if method not in _LOGIN:
        return None
    words = [_LOGIN[method]] if data.get(f"_use_{method}_login") else []
    words += [_KEEP[method]] if data.get(f"_preserve_{method}_env") else []
    if method == "su" and data.get("_su_shell"):
        words += ["-s", str(data["_su_shell"])]
    # Given flags replace Ansible's own.
    return shlex.join([*(_SUDO_FLAGS if method == "sudo" else ()), *words]) if words else None


def _from_flags(host: str, method: str, flags: object) -> dict[str, object]:
    words = shlex.split(str(flags or ""))
    found: dict[str, object] = {}
    while words:
        word = words.pop(0)
        if method == "sudo" and word in _SUDO_FLAGS:
            continue
        if word == _LOGIN.get(method):
            found[f"_use_{method}_login"] = True
        elif word == _KEEP.get(method):
            found[f"_preserve_{method}_env"] = True
        elif method == "su" and word == "-s" and words:
            found["_su_shell"] = words.pop(0)
        else:
            raise GpuwrightError.of(
                f"host {host}, {_FLAGS[0]}",
                f"{word} has no equivalent in pyinfra",
                "each flag a word of its own: -H -S -n -i -E for sudo, -l -m -s SHELL for su",
                "Take it out.",
            )
    return found
