"""A STUB of NVIDIA's repository: its names and relations, packages that are empty but for a dkms module of our own.

It shows what our roles, apt, dpkg and dkms do with packages of these names. No result from it is called a driver
install: the module drives nothing, and the library packages hold no library, but for a text under libcuda's name.

Names, versions and relations are the stanzas of tests/stub_archive/data; building needs apt-ftparchive, dpkg-deb and
gpg on this machine. A host finds it under NVIDIA's own URI, with a key and a source that an "administrator" put there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from gpuwright import catalog
from tests.sandbox.hosts import Sandbox
from tests.sandbox.stub_repository import PARTS, StubRepository, filled, link, put
from tests.stub_archive.archive import DATA
from tests.stub_archive.stanza import Stanza, read

# Stanzas say in which versions these are; a test publishes some of them.
STANZAS = ("nvidia-debian", "nvidia-pinning")
BESIDE = "stub-beside"
# What libcuda1 has for a library: a CDI specification names it.
LIBRARY = "usr/lib/x86_64-linux-gnu/libcuda.so"


@dataclass(frozen=True)
class Release:
    """A driver version of the stub; `knows` is the last kernel that it builds for (6.12.94), "" for all."""

    version: str
    knows: str = ""

    @property
    def upstream(self) -> str:
        return self.version.rpartition("-")[0]

    @property
    def flags(self) -> str:
        """For the compiler."""
        return f"-DSTUB_KNOWS='KERNEL_VERSION({self.knows.replace('.', ',')})'" if self.knows else ""

    @property
    def branch(self) -> str:
        return self.version.partition(".")[0]


@dataclass
class StubDriver(StubRepository):
    """NVIDIA's repository of drivers."""

    _debs: dict[tuple[str, Release], Path] = field(default_factory=dict)

    def publish(
        self,
        release: str,
        drivers: Iterable[Release],
        *,
        beside: str = "1",
        without: str = "",
        signed_by: str = "stub",
        expired: bool = False,
    ) -> None:
        """The repository of a release ("debian 13") has these drivers from now on.

        `beside` is the version of a package that is no driver's; `without` leaves a package out; `signed_by` stranger
        is a key that no host trusts; `expired`: Valid-Until has passed.
        """
        top = self._empty()
        for driver in drivers:
            for stanza in self._stanzas(driver):
                if stanza.name != without:
                    link(self._deb(stanza, driver), top)
        fields = {"Package": BESIDE, "Version": beside, "Architecture": "all"}
        link(self._deb(Stanza(fields), Release(beside)), top)
        self._serve(top, _uri(release), "NVIDIA", "NVIDIA CUDA", signed_by, expired)

    def spoil(self, package: str) -> None:
        """The packages of this name are not what the index says, from now on: as long, and other bytes."""
        for path, served in self.files.served.items():
            if path.rpartition("/")[2].startswith(f"{package}_"):
                served.content = bytes(len(served.content))

    def known_to(self, sandbox: Sandbox, host: str, release: str, authority: trustme.CA) -> None:
        """An administrator of the host has added the repository, with the stub's key."""
        self._known(sandbox, host, _uri(release), authority, "127.0.0.1", "stub")

    def _stanzas(self, driver: Release) -> list[Stanza]:
        """Of one version; the branch's pinning package has a number of its own."""
        found = [stanza for name in STANZAS for stanza in read((DATA / f"{name}.deb822").read_text())]
        ours = [stanza for stanza in found if stanza.version == driver.version]
        assert ours, f"{driver.version}: no stanza in tests/stub_archive/data"
        return ours + [stanza for stanza in found if stanza.name == f"nvidia-driver-pinning-{driver.branch}"]

    def _deb(self, stanza: Stanza, driver: Release) -> Path:
        key = (stanza.name, driver)
        if key not in self._debs:
            place = self.root / "deb" / str(len(self._debs))
            self._fill(place, stanza, driver)
            self._debs[key] = self._pack(place, stanza)
        return self._debs[key]

    def _fill(self, place: Path, stanza: Stanza, driver: Release) -> None:
        """What is not empty: the dkms packages, the daemon's unit, a library's name, and what pins."""
        words = {
            "@VERSION@": driver.upstream,
            "@FLAGS@": driver.flags,
            "@PACKAGE@": stanza.name,
        }
        if stanza.name.endswith("-dkms"):
            source = place / "usr/src" / f"nvidia-{driver.upstream}"
            for name in ("nvidia.c", "Makefile", "dkms.conf"):
                put(source / name, filled(PARTS / name, words))
            for name in ("postinst", "prerm"):
                put(place / "DEBIAN" / name, filled(PARTS / name, words), 0o755)
        elif stanza.name == "nvidia-persistenced":
            unit = "nvidia-persistenced.service"
            put(place / "usr/lib/systemd/system" / unit, filled(PARTS / unit, {}))
        elif stanza.name == "libcuda1":
            put(place / f"{LIBRARY}.{driver.upstream}", "A stub for tests: no library.\n")
        elif stanza.preferences:
            text = stanza.preferences.replace(" | ", "\n") + "\n"
            put(place / "etc/apt/preferences.d" / stanza.name, text)


def _uri(release: str) -> str:
    row = catalog.load().nvidia.repository(release, "x86_64")
    assert row is not None
    return row.uri
