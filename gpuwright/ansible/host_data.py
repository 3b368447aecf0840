"""Ansible's variables of a host as host data of a pyinfra inventory."""

from __future__ import annotations

from collections.abc import Mapping

from gpuwright.ansible import become, ssh_options
from gpuwright.ansible.host_vars import KNOWN, is_setting
from gpuwright.ansible.listing import Template, Vaulted, decrypted
from gpuwright.ansible.spellings import one_of, truth
from gpuwright.errors import GpuwrightError, Refusal

_SSH = ("ssh", "smart", "paramiko", "paramiko_ssh")
# Each key with its spellings.
_SAME = {
    "ssh_hostname": ("ansible_host", "ansible_ssh_host"),
    "ssh_port": ("ansible_port", "ansible_ssh_port"),
    "ssh_user": ("ansible_user", "ansible_ssh_user"),
    "ssh_password": ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password"),
    "ssh_connect_retries": ("ansible_ssh_retries",),
    "_shell_executable": ("ansible_shell_executable",),
}
_KEY = ("ansible_private_key_file", "ansible_ssh_private_key_file")
_CHECKED = ("ansible_host_key_checking", "ansible_ssh_host_key_checking")
_TRANSFER = "ansible_ssh_transfer_method"
# In the order in which Ansible puts them on ssh's command line, where the first one said counts.
_OPTIONS = ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args")
# How Ansible's ssh does its work, not what it reaches.
_HARMLESS = frozenset(
    [
        "ansible_ssh_pipelining",
        "ansible_ssh_use_tty",
        "ansible_ssh_timeout",
        "ansible_ssh_verbosity",
        "ansible_ssh_password_mechanism",
        "ansible_become_ask_pass",
        "ansible_sftp_batch_mode",
    ]
)
_TRANSLATED = (
    frozenset({"ansible_connection", _TRANSFER, *_KEY, *_CHECKED, *_OPTIONS})
    | frozenset(name for names in _SAME.values() for name in names)
    | become.VARIABLES
)
_OURS = ("ansible_ssh_", "ansible_become_", "ansible_private_key", "ansible_sudo_", "ansible_su_")


def host_data(host: str, variables: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    """pyinfra's name of the host, and its data.

    Raises GpuwrightError, with all that is wrong, where a variable that says how to reach the host, or a setting,
    has no equivalent or no value yet. Other variables without a value yet, or with a name of pyinfra's, are left out.
    """
    refusals: list[Refusal] = []
    used: dict[str, object] = {}
    kept: dict[str, object] = {}
    for name, value in variables.items():
        connection = name in _TRANSLATED or (name.startswith(_OURS) and not _is_harmless(name))
        if not connection and not is_setting(name):
            # A team's own `ssh_port` says nothing to Ansible's ssh, so it must not to pyinfra's.
            if name not in KNOWN and _is_plain(value):
                kept[name] = value
            continue
        try:
            used[name] = _resolved(host, name, value)
        except GpuwrightError as error:
            refusals += error.refusals
            continue
        if connection and name not in _TRANSLATED:
            refusals.append(_without_equivalent(host, name))
    if refusals:
        raise GpuwrightError(*refusals)
    settings = {name: value for name, value in used.items() if name not in _TRANSLATED}
    local = _is_local(host, used)
    data: dict[str, object] = {}
    for translate in (become.data,) if local else (become.data, _ssh):
        try:
            data |= translate(host, used)
        except GpuwrightError as error:
            refusals += error.refusals
    if refusals:
        raise GpuwrightError(*refusals)
    return "@local" if local else host, data | settings | kept


def _is_harmless(name: str) -> bool:
    return name in _HARMLESS or name.startswith("ansible_ssh_host_key_")  # facts, where Ansible caches them


def _is_local(host: str, variables: Mapping[str, object]) -> bool:
    connection = str(variables.get("ansible_connection") or "ssh")
    kind = connection.removeprefix("ansible.builtin.").removeprefix("ansible.legacy.")
    if kind == "local":
        return True
    if kind in _SSH:
        return False
    raise GpuwrightError.of(
        f"host {host}, ansible_connection",
        f"{connection} has no equivalent",
        "ssh or local",
        "Reach it by SSH.",
    )


def _ssh(host: str, variables: Mapping[str, object]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name in _OPTIONS:
        if variables.get(name):
            found = ssh_options.read(host, name, str(variables[name])) | found
    said = {key: one_of(host, variables, names) for key, names in _SAME.items()}
    found |= {key: value for key, value in said.items() if value not in (None, "")}
    if "ssh_port" in found:
        found["ssh_port"] = _port(host, found["ssh_port"])
    key = one_of(host, variables, _KEY)
    if key:
        found["ssh_key"] = ssh_options.plain_path(host, _KEY[1], str(key))
    checked = one_of(host, variables, _CHECKED)
    if checked is not None and not truth(host, _CHECKED[0], checked):
        found["ssh_strict_host_key_checking"] = "no"
    if variables.get(_TRANSFER) == "scp":
        found["ssh_file_transfer_protocol"] = "scp"
    return found


def _port(host: str, value: object) -> int:
    if str(value).isdigit():
        return int(str(value))
    raise GpuwrightError.of(f"host {host}, ansible_port", "it is no number", "a port", "Correct it.")


def _resolved(host: str, name: str, value: object) -> object:
    """`value` with what is encrypted in it decrypted; GpuwrightError for a template."""
    match value:
        case Template():
            raise GpuwrightError.of(
                f"host {host}, {name}",
                "it is a template, which ansible-inventory does not evaluate",
                "a plain value, for what gpuwright reads",
                "Write it out, or mark it !unsafe where its braces are meant literally.",
            )
        case Vaulted(text):
            try:
                return decrypted(text)
            except GpuwrightError as error:
                why = error.refusals[0]
                observed = f"it is encrypted, and {why.subject} has no password that opens it"
                raise GpuwrightError.of(f"host {host}, {name}", observed, why.required, why.remedy) from error
        case dict():
            return {key: _resolved(host, name, part) for key, part in value.items()}
        case list():
            return [_resolved(host, name, part) for part in value]
        case _:
            return value


def _is_plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(part) for part in value.values())
    if isinstance(value, list):
        return all(_is_plain(part) for part in value)
    return not isinstance(value, Template | Vaulted)


def _without_equivalent(host: str, name: str) -> Refusal:
    observed = "pyinfra has no equivalent"
    return Refusal(f"host {host}, {name}", observed, "a variable that both engines know", "Take it out.")
