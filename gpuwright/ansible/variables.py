"""A host's settings among Ansible's variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

from gpuwright import secrets
from gpuwright.drift.mask import secrets_of
from gpuwright.errors import GpuwrightError
from gpuwright.settings import FIELDS

# Ansible's own names, of which no setting could be a mistyped one.
_ANSIBLES = ("_", "ansible_", "inventory_", "playbook_", "role_", "ssh_")
_VARIABLE = "var:"


def settings_among(
    variables: Mapping[str, object], template: Callable[[object], object]
) -> dict[str, object]:
    """The settings, as plain values, and the variables that a setting names as `var:NAME`.

    Names that are no settings come without their values, so that a mistyped one is refused where settings are read.
    """
    data: dict[str, object] = {}
    for name, value in variables.items():
        if name in FIELDS:
            data[name] = plain(template(value))
        elif not name.startswith(_ANSIBLES):
            data[name] = None
    for reference in _references(list(data.values()), (_VARIABLE,)):
        name = reference.removeprefix(_VARIABLE)
        if name in variables:
            data[name] = plain(template(variables[name]))
    return data


def secrets_among(data: Mapping[str, object]) -> tuple[str, ...]:
    """The values that must never be shown: what a name says is one, and what settings refer to; the longest first."""
    found = set(secrets_of(data))
    for reference in _references(list(data.values()), tuple(f"{kind}:" for kind in secrets.KINDS)):
        with suppress(GpuwrightError):  # whoever needs it says that it is missing
            found.add(secrets.read(reference, data).reveal())
    return tuple(sorted(found, key=len, reverse=True))


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


def _references(values: object, kinds: tuple[str, ...]) -> list[str]:
    """All texts below `values` that begin with one of `kinds`."""
    if isinstance(values, str):
        return [values] if values.startswith(kinds) else []
    if isinstance(values, dict):
        values = list(values.values())
    if not isinstance(values, list):
        return []
    return [reference for each in values for reference in _references(each, kinds)]
