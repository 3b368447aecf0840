"""Kernels per release and what they can: kernels.toml."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from gpuwright.catalog.row import Row
from gpuwright.catalog.version import at_least

Built = Literal["y", "m", "n", "unknown"]


class KernelRow(Row):
    """A kernel that a release offers, by its metapackages; `{arch}` in names stands for amd64 or arm64.

    `os` is "debian 13", `suite` "" for the release itself with its updates. `series` is the stable series, `version`
    the newest seen. `release` is a pattern of its `uname -r`; for the same words the first row of the file holds.
    `options` are configuration symbols; one that its Kconfig does not have is "n", one that nobody read "unknown".
    """

    os: str
    flavour: str
    image: str
    headers: str
    suite: str = ""
    series: str
    version: str
    release: str
    options: dict[str, Built]

    def packages(self, arch: str) -> tuple[str, str]:
        """Metapackages of image and headers on a dpkg architecture."""
        return self.image.format(arch=arch), self.headers.format(arch=arch)

    def is_release(self, release: str) -> bool:
        """Whether a kernel that calls itself so is one of these."""
        return re.fullmatch(self.release, release) is not None

    def is_installed_as(self, package: str, version: str, arch: str) -> bool:
        """Whether that package is this row's image; Debian gives a backport the name of the release's own."""
        return package == self.packages(arch)[0] and ("~bpo" in version) == self.suite.endswith("-backports")


class BuildRow(Row):
    """The distribution's kernel source and configuration, for a kernel with options that no package of it has.

    `packages` are built from, `localversion` ends the name of what comes out (6.12.117-p2p).
    """

    os: str
    suite: str = ""
    series: str
    localversion: str
    packages: tuple[str, ...]

    @property
    def image(self) -> str:
        """The metapackage of the newest such kernel: linux-image-p2p-6.12."""
        return metapackage(self.localversion, self.series)

    @property
    def base(self) -> str:
        """The release as commands and folders name it: debian13."""
        return self.os.replace(" ", "")


class PeerOptionsRow(Row):
    """Symbols that amdgpu needs for P2P over PCIe, for kernels from `series` on."""

    series: str
    symbols: tuple[str, ...]


class HostBridgeRow(Row):
    """Processors between whose root ports the kernel allows P2P: of `cpu_vendor`, from `family` on."""

    cpu_vendor: str
    family: int


def metapackage(localversion: str, series: str) -> str:
    """What leads to the newest kernel of a series that was built; one name for two would mix them in one folder.

    >>> metapackage("-p2p", "6.12")
    'linux-image-p2p-6.12'
    """
    return f"linux-image{localversion}-{series}"


@dataclass(frozen=True)
class KernelCatalog:
    """All rows of the file, in its order."""

    kernels: tuple[KernelRow, ...]
    builds: tuple[BuildRow, ...]
    peer_options: tuple[PeerOptionsRow, ...]
    host_bridges: tuple[HostBridgeRow, ...]

    @classmethod
    def read(cls, data: dict[str, list[dict[str, object]]]) -> KernelCatalog:
        """The rows of `data`. Raises pydantic's ValidationError for a row that is wrong."""
        return cls(
            tuple(KernelRow.model_validate(row) for row in data["kernel"]),
            tuple(BuildRow.model_validate(row) for row in data["build"]),
            tuple(PeerOptionsRow.model_validate(row) for row in data["peer_options"]),
            tuple(HostBridgeRow.model_validate(row) for row in data["host_bridge"]),
        )

    def offered(self, os: str) -> tuple[KernelRow, ...]:
        """What a release offers, the one to prefer first."""
        return tuple(row for row in self.kernels if row.os == os)

    def running(self, os: str, release: str) -> KernelRow | None:
        """The row of a kernel release; None for one that is not the distribution's."""
        return next((row for row in self.offered(os) if row.is_release(release)), None)

    def peer_symbols(self, version: str) -> PeerOptionsRow:
        """What P2P over PCIe needs in a kernel of this version."""
        fitting = [row for row in self.peer_options if at_least(version, row.series)]
        return fitting[-1] if fitting else self.peer_options[0]
