"""Values of Ansible variables: several spellings of one name, and Ansible's words for yes and no."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gpuwright.errors import GpuwrightError

_YES = ("yes", "true", "on", "y", "t", "1", "1.0")
_NO = ("no", "false", "off", "n", "f", "0", "0.0")


def one_of(host: str, variables: Mapping[str, object], names: Sequence[str]) -> object:
    """The value of the variable that goes by one of `names`, None without any.

    Raises GpuwrightError where two of them differ: which one counts depends on Ansible's plugin.
    """
    given = {name: variables[name] for name in names if variables.get(name) is not None}
    values = list(given.values())
    if any(value != values[0] for value in values):
        raise GpuwrightError.of(
            f"host {host}", f"{' and '.join(given)} differ", "one value", "Leave one of them."
        )
    return values[0] if values else None


def truth(host: str, name: str, value: object) -> bool:
    """`value` as Ansible reads a boolean; GpuwrightError for what is none."""
    word = str(value).lower()
    if word in _YES or word in _NO:
        return word in _YES
    raise GpuwrightError.of(
        f"host {host}, {name}", "it is neither yes nor no", "true or false", "Correct it."
    )
