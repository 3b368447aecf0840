"""A host's settings among Ansible's variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gpuwright.drift.mask import secrets_of
from gpuwright.settings import FIELDS

# Ansible's own names, of which no setting could be a mistyped one.
_ANSIBLES = ("_", "ansible_", "inventory_", "playbook_", "role_", "ssh_")
_SECRET = "var:"


def host_data(variables: Mapping[str, object], template: Callable[[object], object]) -> dict[str, object]:
    """The settings, as plain values, and the variables that a setting names as `var:NAME`.

    Names that are no settings come without their values, so that a mistyped one is refused where settings are read.
    """
    data: dict[str, object] = {}
    for name, value in variables.items():
        if name in FIELDS:
            data[name] = plain(template(value))
        elif not name.startswith(_ANSIBLES):
            data[name] = None
    for name in _named(list(data.values())):
        if name in variables:
            data[name] = plain(template(variables[name]))
    return data


def secrets_among(data: Mapping[str, object]) -> tuple[str, ...]:
    """The values that must never be shown: what a name says is one, and what `var:NAME` fetched; the longest first."""
    fetched = {str(data[name]) for name in _named(list(data.values())) if data.get(name)}
    return tuple(sorted({*secrets_of(data), *fetched}, key=len, reverse=True))


def plain(value: object) -> object:
    """`value` without Ansible's own types: tagged strings and lazy containers compare, hash and dump otherwise."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    for kind in (bool, int, float):
        if isinstance(value, kind):
            return kind(value)
    return None if value is None else str(value)


def _named(values: object) -> list[str]:
    """The names in all `var:NAME` below `values`."""
    if isinstance(values, str):
        return [values.removeprefix(_SECRET)] if values.startswith(_SECRET) else []
    if isinstance(values, dict):
        values = list(values.values())
    return [name for each in values for name in _named(each)] if isinstance(values, list) else []
