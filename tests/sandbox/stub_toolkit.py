"""A STUB of NVIDIA's container toolkit: the names and relations of its packages, with programs of our own.

It shows what our role, apt, systemd and Docker do with packages, units and a specification of these names. `nvidia-ctk`
writes what the stand-in for the driver says (gpu_stand_in.py), in the form of a CDI specification; the units have the
names, conditions and triggers that NVIDIA's documentation and packages give theirs. No container gets a GPU by it.

Names, versions and relations are the stanzas of tests/stub_archive/data; another version has those of the first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from gpuwright import catalog
from tests.sandbox.hosts import Sandbox
from tests.sandbox.stub_repository import StubRepository, filled, link, put
from tests.stub_archive.archive import DATA
from tests.stub_archive.stanza import Stanza, read

FILES = Path(__file__).parent / "stub_toolkit_files"
BASE = "nvidia-container-toolkit-base"
# Where the files go that the package of this name has, and the mode of each.
PLACES = {
    "nvidia-ctk": ("usr/bin", 0o755),
    "nvidia-cdi-hook": ("usr/bin", 0o755),
    "nvidia-cdi-refresh.service": ("usr/lib/systemd/system", 0o644),
    "nvidia-cdi-refresh.path": ("usr/lib/systemd/system", 0o644),
    "postinst": ("DEBIAN", 0o755),
    "prerm": ("DEBIAN", 0o755),
}


@dataclass
class StubToolkit(StubRepository):
    """The repository of the toolkit."""

    _debs: dict[tuple[str, str], Path] = field(default_factory=dict)

    def publish(self, versions: Iterable[str]) -> None:
        """It has these versions ("1.20.0-1") from now on."""
        top = self._empty()
        for version in versions:
            for stanza in _stanzas(version):
                link(self._deb(stanza), top)
        self._serve(top, uri(), "https://nvidia.github.io/libnvidia-container", "libnvidia-container")

    def known_to(self, sandbox: Sandbox, host: str, authority: trustme.CA) -> None:
        """An administrator of the host has added the repository, with the stub's key."""
        self._known(sandbox, host, uri(), authority, "127.0.0.2", "stub-toolkit")

    def _deb(self, stanza: Stanza) -> Path:
        key = (stanza.name, stanza.version)
        if key not in self._debs:
            place = self.root / "deb" / str(len(self._debs))
            place.mkdir(parents=True)
            for name, (folder, mode) in PLACES.items() if stanza.name == BASE else ():
                put(place / folder / name, filled(FILES / name, {"@VERSION@": stanza.version}), mode)
            self._debs[key] = self._pack(place, stanza)
        return self._debs[key]


def uri() -> str:
    """Where the plan looks for it."""
    (row,) = (row for row in catalog.load().runtimes if BASE in row.packages)
    return row.uri.format(arch="amd64")


def _stanzas(version: str) -> list[Stanza]:
    known = read((DATA / "nvidia-container-toolkit.deb822").read_text())
    like = version if version in {stanza.version for stanza in known} else known[0].version
    return [
        Stanza({name: text.replace(like, version) for name, text in stanza.fields.items()})
        for stanza in known
        if stanza.version == like
    ]
