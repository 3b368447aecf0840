"""The distribution's own archive, as far as a role needs more of it than the host has: components and suites.

The host's sources stay as they are. What is missing goes into a file of our own, from the same place and under the same
key: apt refuses two keys for one place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable
from dataclasses import dataclass

from pyinfra import host
from pyinfra.api import FactBase, operation
from pyinfra.api.command import PyinfraCommand, StringCommand
from typing_extensions import override

from gpuwright.errors import Refusal
from gpuwright.operations.files import write
from gpuwright.operations.shell import failure, fields, script
from gpuwright.plan.stack_model import ArchiveReach

# Of the archives of Debian and Ubuntu themselves; another repository may use a release's name as its suite.
_ORIGINS = ("Debian", "Debian Backports", "Ubuntu")
_FORMAT = "$(REPO_URI)\\t$(RELEASE)\\t$(COMPONENT)\\t$(SIGNED_BY)\\t$(SOURCESENTRY)\\t$(ORIGIN)"


@dataclass(frozen=True)
class Index:
    """An index that apt reads: `signed_by` is "" where a source names no key, `origin` where it was never fetched."""

    uri: str
    suite: str
    component: str
    signed_by: str
    file: str
    origin: str


class Indexes(FactBase[list[Index]]):
    """All indexes of packages that apt's sources name, whether or not they have been fetched."""

    @override
    def command(self) -> StringCommand:
        return script(
            "apt-get indextargets --format \"$(printf '%b' \"$1\")\" 'Created-By: Packages'", _FORMAT
        )

    @override
    @staticmethod
    def default() -> list[Index]:
        return []

    @override
    def process(self, output: list[str]) -> list[Index]:
        found = []
        for values in fields(output, 6):
            # apt leaves a name that it has no value for as it is.
            uri, suite, component, key, entry, origin = ("" if v.startswith("$(") else v for v in values)
            found.append(Index(uri, suite, component, key, entry.rpartition(":")[0], origin))
        return found


@operation()
def reaching(reaches: tuple[ArchiveReach, ...]) -> Generator[PyinfraCommand]:
    """
    Add components and suites of the distribution's archive that the host's sources lack.

    + reaches: what is needed, each in a file of its own
    """
    for reach in reaches:
        path = f"/etc/apt/sources.list.d/gpuwright-archive-{reach.name}.sources"
        others = [index for index in host.get_fact(Indexes) if index.file != path]
        stanzas = missing(others, reach)
        if stanzas is None:
            yield failure(
                Refusal(
                    "apt sources",
                    f"none of them is {reach.codename}'s own archive with its component main",
                    "the distribution's archive, from which components and suites are taken",
                    "Set base_apt_mirror, or add the archive below /etc/apt/sources.list.d.",
                )
            )
        elif stanzas:
            yield from write({path: (f"# Managed by gpuwright.\n{stanzas}", "0644")})
        else:
            host.noop(f"{reach.name}: the sources have all of it")


def missing(indexes: Iterable[Index], reach: ArchiveReach) -> str | None:
    """deb822 stanzas for what `indexes` lack; None where the archive itself is not among them."""
    suites: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for index in indexes:
        own = index.suite == reach.codename or index.suite.startswith(f"{reach.codename}-")
        if own and index.origin in ("", *_ORIGINS):
            suites[index.uri, index.suite, index.signed_by].add(index.component)
    release = [place for place, components in suites.items() if "main" in components]
    main = next((place for place in release if place[1] == reach.codename), None)
    if main is None:
        return None
    wanted: dict[tuple[str, str, str], list[str]] = {}
    for place in release:
        # Backports that somebody has are theirs; only what this plan takes from there needs more of it.
        if "-backports" not in place[1] or place[1] in reach.suites:
            wanted[place] = [name for name in reach.components if name not in suites[place]]
    for suite in reach.suites:
        if not any(place[1] == suite for place in release):
            everything = dict.fromkeys(("main", *sorted(suites[main]), *reach.components))
            wanted[main[0], suite, main[2]] = [*everything]
    return "".join(_stanza(*place, components) for place, components in wanted.items() if components)


def _stanza(uri: str, suite: str, key: str, components: list[str]) -> str:
    signed = f"Signed-By: {key}\n" if key else ""
    return f"\nTypes: deb\nURIs: {uri}\nSuites: {suite}\nComponents: {' '.join(components)}\n{signed}"
