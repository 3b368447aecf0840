"""AMD's drivers, ROCm generations and firmware: amd.toml."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from gpuwright.catalog.pins import PinRow
from gpuwright.catalog.row import Row
from gpuwright.catalog.version import numbers


class TargetRow(Row):
    """What a GPU's instruction set (gfx942) needs of kernel and user space.

    `family` is AMD's: instinct and radeon may use AMD's own kernel driver, ryzen only the kernel's. `kernel` is the
    first series whose amdgpu drives it ("6.5"). ROCm supports it from `rocm_first` up to `rocm_last`; "" first means
    never, "" last still. `override` is the HSA_OVERRIDE_GFX_VERSION with which libraries of a sister target run.
    """

    name: str
    family: Literal["instinct", "radeon", "ryzen"]
    kernel: str
    rocm_first: str
    rocm_last: str = ""
    override: str = ""


class DkmsRow(Row):
    """A release of AMD's out-of-tree kernel driver.

    `suites` maps "id version" of a release to the repository's suite. `kernel_first` and `kernel_last` are the
    series between which it builds; `three_arguments`: its source calls pci_resize_resource with three arguments.
    `boot_free_mib` is what its initramfs wants to find free in /boot.
    """

    version: str
    uri: str
    suites: dict[str, str]
    packages: tuple[str, ...]
    kernel_first: str
    kernel_last: str
    three_arguments: bool
    boot_free_mib: int


class ResizeRow(Row):
    """From which version a stable kernel series has pci_resize_resource() with a fourth argument."""

    series: str
    first: str


class SupportRow(Row):
    """GPUs, by the names of their rows, that AMD supports on a release and kernel series with its own driver."""

    os: str
    kernel: str
    gpus: tuple[str, ...]


class RocmRow(Row):
    """A ROCm release: where it is, what its packages are called, and with which dkms drivers AMD pairs it.

    `generation` is that of AMD's repositories: legacy, multi-arch or core.

    `suites` maps "id version" to the repository's suite, `distros` to the last part of its path, where it has one.
    `packages` may name {gfx}, for which each target's name is put. `prefix` is the directory it installs to;
    `owned` are the beginnings of its packages' names.
    """

    version: str
    generation: str
    uri: str
    suites: dict[str, str]
    distros: dict[str, str] = Field({})
    packages: tuple[str, ...]
    owned: tuple[str, ...]
    prefix: str
    drivers: tuple[str, ...]


class KeyRow(Row):
    """The key and the components of a host's repositories, by the beginning of their URIs."""

    uri: str
    components: tuple[str, ...]
    key_url: str
    key_fingerprint: str


class WorkaroundRow(Row):
    """Module options that targets need with in-tree kernels older than `kernel_fixed`."""

    targets: tuple[str, ...]
    kernel_fixed: str
    options: tuple[str, ...]


class FirmwareRow(Row):
    """What a firmware package of a release's suite ("": the release itself) and its `components` has files for."""

    os: str
    suite: str
    components: tuple[str, ...] = ()
    package: str
    version: str
    targets: tuple[str, ...]


class BadFirmwareRow(Row):
    """Versions of a firmware package, by their beginnings, with which these targets hang."""

    package: str
    versions: tuple[str, ...]
    targets: tuple[str, ...]


@dataclass(frozen=True)
class AmdCatalog:
    """All rows of the file, newest releases first."""

    targets: tuple[TargetRow, ...]
    dkms: tuple[DkmsRow, ...]
    resize_arguments: tuple[ResizeRow, ...]
    support: tuple[SupportRow, ...]
    rocm: tuple[RocmRow, ...]
    keys: tuple[KeyRow, ...]
    pins: tuple[PinRow, ...]
    workarounds: tuple[WorkaroundRow, ...]
    firmware: tuple[FirmwareRow, ...]
    bad_firmware: tuple[BadFirmwareRow, ...]

    @classmethod
    def read(cls, data: dict[str, list[dict[str, object]]]) -> AmdCatalog:
        """The rows of `data`. Raises pydantic's ValidationError for a row that is wrong."""
        return cls(
            targets=tuple(TargetRow.model_validate(row) for row in data["target"]),
            dkms=tuple(DkmsRow.model_validate(row) for row in data["dkms"]),
            resize_arguments=tuple(ResizeRow.model_validate(row) for row in data["resize_argument"]),
            support=tuple(SupportRow.model_validate(row) for row in data["support"]),
            rocm=tuple(RocmRow.model_validate(row) for row in data["rocm"]),
            keys=tuple(KeyRow.model_validate(row) for row in data["key"]),
            pins=tuple(PinRow.model_validate(row) for row in data["pin"]),
            workarounds=tuple(WorkaroundRow.model_validate(row) for row in data["workaround"]),
            firmware=tuple(FirmwareRow.model_validate(row) for row in data["firmware"]),
            bad_firmware=tuple(BadFirmwareRow.model_validate(row) for row in data["bad_firmware"]),
        )

    def target(self, name: str) -> TargetRow:
        """The row of a target. Raises KeyError without one; a test asks for a row for every GPU's target."""
        for row in self.targets:
            if row.name == name:
                return row
        raise KeyError(name)

    def kernel_floor(self, targets: Iterable[str]) -> str:
        """The first kernel series whose own amdgpu drives all of `targets`, "" for none."""
        return max((self.target(name).kernel for name in targets), key=numbers, default="")

    def supported(self, os: str, gpus: Iterable[str]) -> SupportRow | None:
        """Where AMD supports all these GPUs (names of their rows) with its own driver on a release."""
        names = set(gpus)
        rows = (row for row in self.support if row.os == os and names <= set(row.gpus))
        return next(rows, None)

    def has_four_arguments(self, version: str) -> bool:
        """Whether pci_resize_resource() has a fourth argument in a kernel of a stable series ("6.12.117")."""
        return any(
            numbers(version)[:2] == numbers(row.series) and numbers(version) >= numbers(row.first)
            for row in self.resize_arguments
        )

    def key(self, uri: str) -> KeyRow:
        """The key of the repository at `uri`. Raises KeyError where nobody wrote it down."""
        for row in self.keys:
            if uri.startswith(row.uri):
                return row
        raise KeyError(uri)
