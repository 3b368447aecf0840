"""Fact: the packages of a locked set as dpkg has them, and which of them belong together."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pyinfra.api import FactBase
from pyinfra.api.command import StringCommand
from typing_extensions import override

from gpuwright.catalog.version import at_least
from gpuwright.errors import Refusal
from gpuwright.operations.shell import fields, script
from gpuwright.plan.stack_model import LockedSet


@dataclass(frozen=True)
class LockedPackage:
    """A package that dpkg knows. `whole`: installed and configured; `needs` are names, one group for alternatives."""

    version: str
    whole: bool
    held: bool
    needs: tuple[tuple[str, ...], ...]


Packages = dict[str, LockedPackage]
_FORMAT = "${Package}\\t${Version}\\t${db:Status-Want}\\t${db:Status-Status}\\t${Pre-Depends}, ${Depends}\\n"


class LockedPackages(FactBase[Packages]):
    """The packages whose name fits one of `patterns` from its start, by name; removed ones are left out."""

    @override
    def command(self, patterns: tuple[str, ...]) -> StringCommand:
        return script(
            """
            dpkg-query --show --showformat="$2" | grep -E "^($1)" |
                awk -F '\t' '$4 != "not-installed" && $4 != "config-files"'
            """,
            "|".join(patterns),
            _FORMAT,
        )

    @override
    @staticmethod
    def default() -> Packages:
        return {}

    @override
    def process(self, output: list[str]) -> Packages:
        return {
            name: LockedPackage(version, status == "installed", want == "hold", _needs(depends))
            for name, version, want, status, depends in fields(output, 5)
        }


def patterns_of(locked: LockedSet) -> tuple[str, ...]:
    """What belongs to a set: by its patterns, and by its own names."""
    names = locked.first + locked.packages
    # re.escape would escape dashes too, of which grep complains.
    exact = (name.replace(".", "[.]").replace("+", "[+]") for name in names)
    return locked.patterns + tuple(f"{name}([^a-z0-9+.-]|$)" for name in exact)


def belongs(locked: LockedSet, name: str) -> bool:
    """Whether a package of this name is part of a set."""
    return any(re.match(pattern, name) for pattern in patterns_of(locked))


def below(version: str, minimum: str) -> bool:
    """Whether a package's version is older than `minimum`, which is upstream's; "" for any.

    >>> below("1.17.8-1", "1.18.0"), below("1:1.20.0-1", "1.18.0"), below("1.0-1", "")
    (True, False, False)
    """
    return not at_least(version.rpartition(":")[2], minimum)


def too_old(locked: LockedSet, versions: Iterable[str], where: str) -> Refusal:
    """Why a set is not brought about; `versions` are "NAME VERSION", `where` is installed, locked or offered."""
    newer = "Nothing was changed. Run `gpuwright lock HOST --update`, then the deploy again; "
    remedy = (
        f"{newer}where that finds none newer, add the vendor's own repository or bring its mirror up to date."
    )
    if where == "offered":
        remedy = "Nothing was changed. Add the vendor's own repository, or bring its mirror up to date; then run again."
    return Refusal(
        locked.name,
        f"{', '.join(versions)} {where}",
        f"{locked.minimum} or newer, all of one version",
        remedy,
    )


def closure(packages: Packages, names: Iterable[str]) -> tuple[str, ...]:
    """`names` with all that they need among `packages`, sorted."""
    found: set[str] = set()
    queue = [name for name in names if name in packages]
    while queue:
        name = queue.pop()
        if name in found:
            continue
        found.add(name)
        queue += [other for group in packages[name].needs for other in group if other in packages]
    return tuple(sorted(found))


def _needs(depends: str) -> tuple[tuple[str, ...], ...]:
    """Names of a Depends field: `a (= 1), b | c:any` is ((a,), (b, c))."""
    groups = []
    for group in depends.split(","):
        names = tuple(
            match[0] for part in group.split("|") if (match := re.search(r"[a-z0-9][a-z0-9+.-]+", part))
        )
        if names:
            groups.append(names)
    return tuple(groups)
