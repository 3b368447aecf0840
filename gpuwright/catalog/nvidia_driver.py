"""Rows of NVIDIA's driver: branches, packages and where they come from, what builds, options and daemons."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from gpuwright.catalog.row import Row
from gpuwright.catalog.version import numbers

Modules = Literal["open", "proprietary"]
Source = Literal["distribution", "nvidia"]


class ArchitectureRow(Row):
    """What drives an architecture: branches from `first` to `last` (None: no end yet), and whether open modules do."""

    arch: str
    first: int
    last: int | None = None
    open: Literal["no", "yes", "required"]


class BranchRow(Row):
    """A driver branch. `cuda` is the newest toolkit made for it, `modules` the flavour that it installs by default.

    `proprietary`: that flavour exists. `end_of_life` is year-month, "" where none was announced; `ended` says what
    held when the row was written, for a plan knows no clock.
    """

    branch: int
    newest: str
    kind: Literal["long-term", "production", "new-feature"]
    end_of_life: str = ""
    ended: bool
    cuda: str
    proprietary: bool
    modules: Modules


class CudaRow(Row):
    """The lowest driver version that runs every toolkit of a CUDA major version.

    `without` are architectures that older toolkits compile for and these do not.
    """

    major: int
    driver: str
    without: tuple[str, ...] = ()


class ToolkitRow(Row):
    """A CUDA toolkit: its metapackage, the `driver` it was made with, and the releases whose repository has it.

    `parts` is a regex from the start of the names of its packages.
    """

    version: str
    package: str
    parts: str
    driver: str
    os: tuple[str, ...]


class BuildRule(Row):
    """A change of the kernel that modules of one flavour must know: see `applies` and `copes`.

    `error` is a regex of the compiler's words about it, "" where they are not known.
    """

    name: str
    modules: Modules
    kernels: tuple[str, ...]
    drivers: tuple[str, ...]
    error: str = ""

    def applies(self, kernel: str) -> bool:
        """Whether a kernel version (6.12.117) has the change."""
        return _reached(kernel, self.kernels, parts=2)

    def copes(self, driver: str) -> bool:
        """Whether the modules of a driver version (580.126.09) build on such a kernel."""
        return _reached(driver, self.drivers, parts=1)


class OfBranches(Row):
    """What holds for branches `first` to `last`, all later ones without it."""

    first: int
    last: int | None = None

    def has(self, branch: int) -> bool:
        """Whether it holds for the branch."""
        return self.first <= branch and (self.last is None or branch <= self.last)


class PackageSet(OfBranches):
    """What to install for branches `first` to `last`, from one source, in one flavour, delivered in one way.

    `before` are packages that must be installed before apt looks at the others, `components` those of the
    distribution's archive that the set needs beyond what every installation has. `kernels` are the metapackage suffixes
    that prebuilt modules exist for. `version` is the archive's where it is not the branch's newest. `conflict` says why
    apt cannot install the set.
    """

    os: tuple[str, ...]
    source_of: Source
    modules: Modules
    delivery: Literal["prebuilt", "dkms"]
    before: tuple[str, ...] = ()
    packages: tuple[str, ...]
    components: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    version: str = ""
    conflict: str = ""
    module: str

    @property
    def by_branch(self) -> bool:
        """Whether the branch is a part of its names."""
        return any("{branch}" in name for name in self.packages)

    def names(self, branch: int, kernel: str) -> tuple[str, ...]:
        """All package names for a branch and a kernel metapackage's suffix, `before` at the beginning."""
        return tuple(name.format(branch=branch, kernel=kernel) for name in self.before + self.packages)

    def first_names(self, branch: int) -> tuple[str, ...]:
        """Those of `before`."""
        return tuple(name.format(branch=branch) for name in self.before)


class CudaRepository(Row):
    """NVIDIA's flat repository for a release and an architecture."""

    os: str
    arch: str
    uri: str
    key_url: str
    key_fingerprint: str


class PublicRow(Row):
    """The folder that has NVIDIA's repositories of all releases, each in a folder of its own."""

    uri: str


class LocalRepositoryRow(Row):
    """A package that holds a driver version as a repository: see `read`.

    `uri` is where it unpacks to, as the source that comes with it says; `keyrings` is a pattern of key files there,
    which that source wants in `trusted`. `others` is a pattern of all packages of this kind, `pin` what prefers them.
    """

    file: str
    package: str
    others: str
    uri: str
    keyrings: str
    trusted: str
    pin_name: str
    pin_packages: str
    pin: str
    priority: int

    def read(self, name: str) -> dict[str, str] | None:
        """os (debian13), version (580.95.05), packaging (1.0-1) and arch of a file of this name; None for another."""
        found = re.fullmatch(self.file, name)
        return found.groupdict() if found else None


class OriginRow(Row):
    """Marks by which a source's packages are known on a host: patterns of whole names or whole versions."""

    os: tuple[str, ...]
    source_of: Source
    names: str = ""
    versions: str = ""

    def marks(self, name: str, version: str) -> bool:
        """Whether that package came from this source; False where it carries no mark."""
        return _fits(self.names, name) or _fits(self.versions, version)


class DriverPackageRow(Row):
    """Patterns of whole names and versions of the packages of a driver; `prebuilt` ones bring its modules built."""

    names: str
    versions: str
    not_names: str
    prebuilt: str

    def fits(self, name: str, version: str) -> bool:
        """Whether that package is a part of the driver."""
        return _fits(self.names, name) and _fits(self.versions, version) and not _fits(self.not_names, name)

    def is_prebuilt(self, name: str) -> bool:
        """Whether a package of this name holds modules, or depends on those of a kernel."""
        return _fits(self.prebuilt, name)


class UnsupportedRow(Row):
    """A machine that no role can provision, by patterns of its product name and of its kernels' releases."""

    product: str
    kernel: str
    what: str
    remedy: str


class OptionRow(Row):
    """A module option that cards of these kinds need with one flavour, up to branch `last`."""

    option: str
    modules: Modules
    last: int
    kinds: tuple[str, ...]


class BootRow(Row):
    """Modules to load at boot, and the unit that keeps the driver initialised; packages of these names bring it."""

    load: tuple[str, ...]
    persistence: str
    brought_by: str

    def brings(self, name: str) -> bool:
        """Whether a package of this name has the unit."""
        return _fits(self.brought_by, name)


class LockedClocksRow(Row):
    """Architectures whose clocks the driver does not lock."""

    without: tuple[str, ...]


class PersistenceRow(Row):
    """The command of the daemon's unit, where the one that a source's packages have does not do."""

    os: tuple[str, ...]
    source_of: Source
    command: str


class BlacklistRow(Row):
    """Modules of the kernel's own that would take the cards."""

    modules: tuple[str, ...]
    os: tuple[str, ...]


class UnattendedRow(Row):
    """Regexes of packages that unattended upgrades must not touch, by whose they are."""

    of: Literal["nvidia", "amd", "kernel"]
    patterns: tuple[str, ...]


def _reached(version: str, floors: Iterable[str], *, parts: int) -> bool:
    """Whether a version is at or past the floor of its series (its first `parts` numbers), or past all of them."""
    own = numbers(version)
    known = {numbers(floor)[:parts]: numbers(floor) for floor in floors}
    if own[:parts] in known:
        return own >= known[own[:parts]]
    return own[:parts] > max(known)


def _fits(pattern: str, text: str) -> bool:
    return bool(pattern) and re.fullmatch(pattern, text) is not None
