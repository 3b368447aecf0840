"""apt repositories: deb822 with Signed-By, and a key that is checked before anything trusts it."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand, StringCommand
from typing_extensions import override

from gpuwright.operations import apt_keys
from gpuwright.operations.files import FileStates, write
from gpuwright.operations.readings import Lines
from gpuwright.operations.shell import fields, script
from gpuwright.plan.model import AptRepository

OURS = "gpuwright-"  # how the names of our own source files begin


class Places(Lines):
    """What apt's sources name, read or not: file and line (stub.sources:1), a tab, the URI."""

    @override
    def command(self) -> StringCommand:
        # Without the option apt leaves out what it has not fetched yet.
        return script(
            "apt-get indextargets --no-release-info --format \"$(printf '%b' \"$1\")\" 'Created-By: Packages'",
            "$(SOURCESENTRY)\\t$(REPO_URI)",
        )


@operation()
def present(repositories: tuple[AptRepository, ...]) -> Generator[PyinfraCommand]:
    """
    Add repositories; a key with another fingerprint than the catalogue's is thrown away and fails the host.

    + repositories: each with its key's URL and fingerprint; one that apt knows already is left alone
    """
    if not repositories:
        return
    # apt refuses two keys for one place: what a source of somebody else's names is left to that one.
    sources: list[str] = host.get_fact(Places)
    theirs = {uri.rstrip("/") for entry, uri in fields(sources, 2) if not Path(entry).name.startswith(OURS)}
    repositories = tuple(each for each in repositories if each.uri.rstrip("/") not in theirs)
    keys = {repository.name: apt_keys.path_of(repository) for repository in repositories}
    there = host.get_fact(FileStates, paths=tuple(keys.values())) if keys else {}
    for repository in repositories:
        key = keys[repository.name]
        if key not in there:
            yield apt_keys.fetched(repository)
        yield from write(
            {
                f"/etc/apt/sources.list.d/{OURS}{repository.name}.sources": (
                    _deb822(repository, key),
                    "0644",
                )
            }
        )


def _deb822(repository: AptRepository, key: str) -> str:
    # A flat repository (suite "/") has no components, and apt refuses the field there.
    components = f"Components: {' '.join(repository.components)}\n" if repository.components else ""
    return (
        "# Managed by gpuwright.\n"
        "Types: deb\n"
        f"URIs: {repository.uri}\n"
        f"Suites: {repository.suite}\n"
        f"{components}"
        f"Architectures: {repository.architecture}\n"
        f"Signed-By: {key}\n"
    )
