"""Options of the ssh program: how Ansible is told what pyinfra knows as `ssh_...` host data, and the way back."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from gpuwright.errors import GpuwrightError

# Host data that becomes options.
DATA = frozenset(
    [
        "ssh_config_file",
        "ssh_known_hosts_file",
        "ssh_strict_host_key_checking",
        "ssh_forward_agent",
        "ssh_allow_agent",
        "ssh_look_for_keys",
    ]
)

# pyinfra's own, where Ansible leaves it to ssh, which would ask.
_STRICT_DEFAULT = "accept-new"
_STRICT = ("yes", "no", "off", "ask", "accept-new")
# What changes neither which host is reached, nor as whom, nor whether its key is checked.
_HARMLESS = frozenset(
    [
        "controlmaster",
        "controlpersist",
        "controlpath",
        "compression",
        "serveraliveinterval",
        "serveralivecountmax",
        "tcpkeepalive",
        "connecttimeout",
        "connectionattempts",
        "loglevel",
        "identitiesonly",
        "preferredauthentications",
        "batchmode",
        "addkeystoagent",
        "gssapiauthentication",
        "requesttty",
        "ciphers",
        "kexalgorithms",
        "macs",
        "numberofpasswordprompts",
    ]
)
_LONG = {"-i": "IdentityFile", "-p": "Port", "-l": "User", "-J": "ProxyJump", "-F": "ConfigFile", "-o": ""}
_HARMLESS_FLAGS = ("-C", "-q", "-v", "-vv", "-vvv", "-4", "-6", "-T", "-a", "-x")


def written(host: str, data: Mapping[str, object]) -> str:
    """The words for `ansible_ssh_common_args`; GpuwrightError for a value that ssh would not understand."""
    words: list[str] = []
    if data.get("ssh_config_file"):
        words += ["-F", str(Path(str(data["ssh_config_file"])).expanduser())]
    options = [f"StrictHostKeyChecking={_strict(host, data)}"]
    if data.get("ssh_known_hosts_file"):
        options.append(f'UserKnownHostsFile="{path(host, data, "ssh_known_hosts_file")}"')
    if data.get("ssh_forward_agent") is not None:
        options.append(f"ForwardAgent={'yes' if data['ssh_forward_agent'] else 'no'}")
    if data.get("ssh_key"):
        options.append("IdentitiesOnly=yes")  # pyinfra offers this key and no other
    else:
        options += ["IdentityAgent=none"] if data.get("ssh_allow_agent") is False else []
        options += ["IdentityFile=none"] if data.get("ssh_look_for_keys") is False else []
    return shlex.join([*words, *(word for option in options for word in ("-o", option))])


def path(host: str, data: Mapping[str, object], key: str) -> str:
    """The path in `data[key]` as ssh reads one: without ~, and with % doubled."""
    given = str(Path(str(data[key])).expanduser())
    if '"' in given or "\n" in given:
        raise GpuwrightError.of(
            f"host {host}, {key}", "a quote or a new line in a path", "a path that ssh can read", "Rename it."
        )
    return given.replace("%", "%%")


def plain_path(host: str, name: str, text: str) -> str:
    """A path as pyinfra reads one, from ssh's spelling; GpuwrightError where ssh would put something in."""
    if "%" in text.replace("%%", ""):
        raise GpuwrightError.of(
            f"host {host}, {name}", f"{text} has a placeholder of ssh's", "a path as it is", "Write it out."
        )
    return text.replace("%%", "%")


def read(host: str, name: str, text: str) -> dict[str, object]:
    """pyinfra's host data for the options in the variable `name`.

    Raises GpuwrightError for an option without an equivalent that may change where or how ssh connects.
    """
    found: dict[str, object] = {}
    for option, value in _options(host, name, text):
        key = option.lower()
        if key == "stricthostkeychecking":
            value = {"off": "no"}.get(value.lower(), value.lower())
            found.setdefault("ssh_strict_host_key_checking", value)
        elif key == "userknownhostsfile":
            found.setdefault("ssh_known_hosts_file", _one_path(host, name, option, value))
        elif key == "identityfile" and value.lower() == "none":
            found.setdefault("ssh_look_for_keys", False)
        elif key == "identityfile":
            found.setdefault("ssh_key", _one_path(host, name, option, value))
        elif key == "identityagent" and value.lower() == "none":
            found.setdefault("ssh_allow_agent", False)
        elif key == "forwardagent" and value.lower() in ("yes", "no"):
            found.setdefault("ssh_forward_agent", value.lower() == "yes")
        elif key in ("port", "user"):
            found.setdefault(f"ssh_{key}", int(value) if key == "port" and value.isdigit() else value)
        elif key == "configfile":
            found.setdefault("ssh_config_file", value)
        elif key not in _HARMLESS:
            raise _unknown(host, name, option)
    if found.get("ssh_strict_host_key_checking") == _STRICT_DEFAULT:
        del found["ssh_strict_host_key_checking"]
    return found


def _strict(host: str, data: Mapping[str, object]) -> str:
    value = data.get("ssh_strict_host_key_checking", _STRICT_DEFAULT)
    word = "ask" if value is None else value
    if word in _STRICT:
        return str(word)
    raise GpuwrightError.of(
        f"host {host}, ssh_strict_host_key_checking", f"is {value!r}", ", ".join(_STRICT), "Choose one."
    )


def _options(host: str, name: str, text: str) -> Iterator[tuple[str, str]]:
    """Each option with its value, whether it was written `-o Port=22`, `-oPort=22`, `-o 'Port 22'` or `-p 22`."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise GpuwrightError.of(
            f"host {host}, {name}", str(error), "words of a shell", "Correct it."
        ) from error
    while words:
        word = words.pop(0)
        if word in _HARMLESS_FLAGS:
            continue
        if word == "-A":
            yield "ForwardAgent", "yes"
            continue
        flag, value = word[:2], word[2:]
        if flag not in _LONG or not (value or words):
            raise _unknown(host, name, word)
        value = value or words.pop(0)
        if flag != "-o":
            yield _LONG[flag], value
            continue
        option, *rest = re.split(r"\s*=\s*|\s+", value.strip(), maxsplit=1)
        yield option, rest[0] if rest else ""


def _one_path(host: str, name: str, option: str, value: str) -> str:
    paths = shlex.split(value)
    if len(paths) != 1:
        raise GpuwrightError.of(
            f"host {host}, {name}", f"{option} has {len(paths)} files", "one file", "Leave one of them."
        )
    return plain_path(host, name, paths[0])


def _unknown(host: str, name: str, option: str) -> GpuwrightError:
    remedy = "Take it out, or put it into ~/.ssh/config, which both engines read."
    if option.lower() in ("proxyjump", "proxycommand"):
        remedy = f"Put {option} for this host into ~/.ssh/config: both engines read it there."
    return GpuwrightError.of(
        f"host {host}, {name}",
        f"{option} has no equivalent in pyinfra's host data",
        "options that both engines know",
        remedy,
    )
