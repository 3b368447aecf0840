"""An Ansible inventory as Ansible itself reads it: `ansible-inventory --list` in a child process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile

from gpuwright.errors import GpuwrightError

# Set for the child, so that an inventory of ours that Ansible then asks for does not start the same again.
_INSIDE = "GPUWRIGHT_READS_ANSIBLE"
_ERROR, _COMPLAINT = "[ERROR]: ", "[WARNING]: Failed to parse inventory with "
_TEMPLATE = ("{{", "{%", "{#")
_SETTINGS = {
    # Half an inventory is none: its other hosts would pass for undeclared.
    "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
    "ANSIBLE_INVENTORY_UNPARSED_FAILED": "true",
    "ANSIBLE_INVENTORY_EXPORT": "false",  # else the variables of groups are not merged into their hosts'
    "ANSIBLE_DEPRECATION_WARNINGS": "false",
    "ANSIBLE_NOCOLOR": "true",
    "ANSIBLE_FORCE_COLOR": "false",
    "ANSIBLE_VERBOSITY": "0",
    "COLUMNS": "1000",
}


@dataclass(frozen=True)
class Template:
    """A Jinja template that ansible-inventory does not evaluate."""

    text: str = field(repr=False)


@dataclass(frozen=True)
class Vaulted:
    """A value that ansible-inventory leaves encrypted, with and without the password."""

    ciphertext: str = field(repr=False)


@dataclass(frozen=True)
class Listing:
    """Hosts in the inventory's order with their merged variables, and groups with those of their children."""

    variables: Mapping[str, Mapping[str, object]] = field(repr=False)
    groups: Mapping[str, Sequence[str]]


def listed(path: Path, playbook_dir: Path | None = None) -> Listing:
    """The inventory `path`; variables beside playbooks count with their directory as `playbook_dir`.

    GpuwrightError when Ansible is missing, or with its last words when the inventory is wrong.
    """
    if not path.exists():
        raise _wrong(path, "there is no such file", "Check the path; it counts from the file that names it.")
    arguments = ["-i", str(path), "--list"]
    if playbook_dir is not None:
        arguments += ["--playbook-dir", str(playbook_dir)]
    if os.environ.get(_INSIDE):
        raise _wrong(path, "an Ansible inventory leads back to it", "Name files of Ansible's own in it.")
    code, out, said = _run("ansible-inventory", arguments)
    if code != 0:
        raise _wrong(path, f"ansible-inventory failed: {_last_words(said)}", "Correct it.")
    try:
        document = json.loads(out)
        hostvars = document.pop("_meta")["hostvars"]
    except (ValueError, KeyError, TypeError):
        raise _wrong(path, "ansible-inventory's answer is no JSON", "Check ansible.cfg.") from None
    names = list(dict.fromkeys(_members("all", document)))
    variables = {
        name: {key: _value(value) for key, value in hostvars.get(name, {}).items()} for name in names
    }
    groups = {name: list(dict.fromkeys(_members(name, document))) for name in document}
    return Listing(variables, {name: members for name, members in groups.items() if members})


@cache
def decrypted(ciphertext: str) -> str:
    """A vaulted value's text, with the password that Ansible's own configuration names; else GpuwrightError."""
    # A file, because without a password Ansible would take one from stdin.
    with NamedTemporaryFile("w", suffix=".vault", encoding="utf-8") as file:
        file.write(ciphertext)
        file.flush()
        code, out, _ = _run("ansible-vault", ["decrypt", "--output", "-", file.name])
    if code != 0:
        raise GpuwrightError.of(
            "ansible-vault",
            "it cannot decrypt a value",
            "the vault's password",
            "Name its file in ANSIBLE_VAULT_PASSWORD_FILE or ansible.cfg.",
        )
    return out


def _members(group: str, document: Mapping[str, Mapping[str, Sequence[str]]]) -> Iterator[str]:
    about = document.get(group, {})
    yield from about.get("hosts", ())
    for child in about.get("children", ()):
        yield from _members(child, document)


def _value(value: object) -> object:
    """A value with Ansible's wrappers taken off; what is still to be evaluated keeps one of ours."""
    if isinstance(value, list):
        return [_value(part) for part in value]
    if isinstance(value, dict):
        match list(value.items()):
            case [("__ansible_unsafe", str(text))]:
                return text
            case [("__ansible_vault", str(text))]:
                return Vaulted(text)
        return {key: _value(part) for key, part in value.items()}
    if isinstance(value, str) and any(mark in value for mark in _TEMPLATE):
        return Template(value)
    return value


def _run(program: str, arguments: Sequence[str]) -> tuple[int, str, str]:
    beside = Path(sys.executable).with_name(program)
    found = str(beside) if beside.is_file() else shutil.which(program)
    if found is None:
        raise GpuwrightError.of(
            program,
            "is not installed",
            f"it on PATH or beside {sys.executable}",
            "Run: pip install ansible-core",
        )
    child = subprocess.run(
        [found, *arguments],
        env={**os.environ, **_SETTINGS, _INSIDE: "1"},
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # else it could ask for a vault password, in the middle of a run
        capture_output=True,
        text=True,
        check=False,
    )
    return child.returncode, child.stdout, child.stderr


def _last_words(said: str) -> str:
    """The first complaint and where it is (later ones are other plugins' guesses), else the error, else the end."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    complaints = [line for line in lines if line.startswith(_COMPLAINT)]
    places = [line for line in lines if line.startswith("Origin: ") and not line.startswith("Origin: <")]
    errors = [line for line in lines if line.startswith(_ERROR)]
    chosen = complaints[:1] + places[:1] if complaints else errors[-1:] or lines[-1:] or ["it said nothing"]
    # What follows "got" is a piece of the inventory, maybe of a password.
    plain = [line.removeprefix(_COMPLAINT).removeprefix(_ERROR).partition(", got:")[0] for line in chosen]
    return "; ".join(line.rstrip(".") for line in plain)


def _wrong(path: Path, observed: str, remedy: str) -> GpuwrightError:
    return GpuwrightError.of(
        f"Ansible inventory {path}", observed, "an inventory that Ansible can read", remedy
    )
