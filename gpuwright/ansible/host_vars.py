"""Host data of a pyinfra inventory as Ansible's variables of that host."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gpuwright.ansible import become, ssh_options
from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.settings import FIELDS, ROLE_SETTINGS

# One to one.
_SAME = {
    "ssh_hostname": "ansible_host",
    "ssh_port": "ansible_port",
    "ssh_user": "ansible_user",
    "ssh_password": "ansible_password",
    "ssh_connect_retries": "ansible_ssh_retries",
    "ssh_file_transfer_protocol": "ansible_ssh_transfer_method",
    "_shell_executable": "ansible_shell_executable",
}
# No equivalent, and a host is reached and changed all the same.
_WITHOUT = {
    "ssh_key_password": "Ansible never types it: load the key into ssh-agent",
    "ssh_connect_retry_min_delay": "Ansible waits as it thinks best",
    "ssh_connect_retry_max_delay": "Ansible waits as it thinks best",
    "_temp_dir": "say ansible_remote_tmp",
    "_timeout": "say `timeout` in the playbook",
    "_get_pty": "say ansible_ssh_use_tty",
    "_retries": "say `retries` in the playbook",
    "_retry_delay": "say `delay` in the playbook",
    "_retry_until": "say `until` in the playbook",
    "_ignore_errors": "say `ignore_errors` in the playbook",
    "_continue_on_error": "say `ignore_errors` in the playbook",
    "_parallel": "say `serial` or `throttle` in the playbook",
    "_serial": "say `serial` in the playbook",
    "_run_once": "say `run_once` in the playbook",
}
# These would make commands do something else.
_REFUSED = {
    "ssh_paramiko_connect_kwargs": "Say it with other ssh_ keys, or in ~/.ssh/config.",
    "_chdir": "Take it out of the host's data.",
    "_env": "Set variables on the host, or `environment` in the playbook.",
    "_stdin": "Take it out of the host's data.",
    "_success_exit_codes": "Take it out of the host's data.",
    "_if": "Take it out of the host's data.",
}
KNOWN = frozenset({*_SAME, "ssh_key", *_WITHOUT, *_REFUSED}) | become.DATA | ssh_options.DATA
_CLOSE = 0.85


@dataclass
class HostVars:
    """One host for Ansible; `variables` may hold secrets, so repr leaves them out."""

    name: str
    variables: dict[str, object] = field(default_factory=dict, repr=False)
    refusals: list[Refusal] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def host_vars(name: str, data: Mapping[str, object]) -> HostVars:
    """The host `name` with all its data, and every reason why Ansible would not do with it what pyinfra does."""
    host = HostVars(*_named(name))
    own = {key: value for key, value in data.items() if key not in KNOWN}
    translated: dict[str, object] = {}
    for translate in (_connection, become.variables):
        try:
            translated |= translate(name, data)
        except GpuwrightError as error:
            host.refusals += error.refusals
    host.variables |= translated | host.variables
    _leave_out(host, data)
    for key, value in own.items():
        _add(host, key, value)
    return host


def _named(name: str) -> tuple[str, dict[str, object]]:
    """Ansible's name of the host (it reads `--limit @word` as a file), and how it is reached, if not by SSH."""
    if name == "@local":
        return "localhost", {"ansible_connection": "local"}
    return name.removeprefix("@ssh/"), {}


def _connection(name: str, data: Mapping[str, object]) -> dict[str, object]:
    if name == "@local":
        return {}
    if name.startswith("@") and not name.startswith("@ssh/"):
        raise GpuwrightError.of(
            f"host {name}",
            f"is reached through pyinfra's connector {name.split('/')[0]}",
            "SSH or @local under Ansible",
            "Run it with pyinfra, or give the host an SSH server.",
        )
    found = {new: data[key] for key, new in _SAME.items() if data.get(key) not in (None, "")}
    if data.get("ssh_key"):
        found["ansible_ssh_private_key_file"] = ssh_options.path(name, data, "ssh_key")
    return {**found, "ansible_ssh_common_args": ssh_options.written(name, data)}


def _leave_out(host: HostVars, data: Mapping[str, object]) -> None:
    for key, value in data.items():
        if key in _WITHOUT and value not in (None, "", False, 0):
            host.warnings.append(f"host {host.name}, {key}: left out under Ansible; {_WITHOUT[key]}")
        if key in _REFUSED and value not in (None, "", {}):
            subject = f"host {host.name}, {key}"
            observed = "Ansible has no equivalent"
            host.refusals.append(Refusal(subject, observed, "data that both engines know", _REFUSED[key]))


def _add(host: HostVars, key: str, value: object) -> None:
    if key.startswith(("ssh_", "_")):
        close = difflib.get_close_matches(key, KNOWN, n=1, cutoff=_CLOSE)
        hint = f"did you mean {close[0]}?" if close else "pyinfra has no such connection data"
        if close or key.startswith("ssh_"):
            host.warnings.append(f"host {host.name}, {key}: it has no effect; {hint}")
    try:
        plain = plain_data(value)
    except TypeError as error:
        if is_setting(key):
            host.refusals.append(
                Refusal(
                    f"host {host.name}, {key}", str(error), "plain data", "Write text, numbers and lists."
                )
            )
        elif not callable(value):  # a helper function is nothing that a role reads
            host.warnings.append(f"host {host.name}, {key}: left out under Ansible; {error}")
        return
    translated = host.variables.get(key, plain)
    if key == "ansible_ssh_common_args" and key in host.variables:
        host.variables[key] = f"{plain} {translated}"  # ssh keeps what is said first
    elif translated == plain:
        host.variables[key] = plain
    else:
        subject = f"host {host.name}, {key}"
        observed = "differs from what pyinfra's words for it say"
        host.refusals.append(Refusal(subject, observed, "one value", "Leave one of them."))


def is_setting(key: str) -> bool:
    """Whether gpuwright reads `key`, or would refuse it as a typo."""
    return key in FIELDS or any(key.startswith(f"{role}_") for role in ROLE_SETTINGS)


def plain_data(value: object) -> object:
    """`value` as JSON can carry it and Ansible can hold it; TypeError says what cannot be."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [plain_data(part) for part in value]
    if isinstance(value, Mapping):
        wrong = next((key for key in value if not isinstance(key, str)), None)
        if wrong is not None:
            raise TypeError(f"it has a key of type {type(wrong).__name__}, which is no text")
        return {key: plain_data(part) for key, part in value.items()}
    raise TypeError(f"it holds a value of type {type(value).__name__}, which is no plain data")
