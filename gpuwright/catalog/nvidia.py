"""All that nvidia.toml says of NVIDIA's driver and of NVLink."""

from __future__ import annotations

from dataclasses import dataclass

from gpuwright.catalog.nvidia_driver import (
    ArchitectureRow,
    BlacklistRow,
    BootRow,
    BranchRow,
    BuildRule,
    CudaRepository,
    CudaRow,
    DriverPackageRow,
    LocalRepositoryRow,
    LockedClocksRow,
    OptionRow,
    OriginRow,
    PackageSet,
    PersistenceRow,
    PublicRow,
    ToolkitRow,
    UnattendedRow,
    UnsupportedRow,
)
from gpuwright.catalog.nvlink import BoardRow, FabricRow, ImexRow, ImexUse, NvLink5Row, SwitchRow
from gpuwright.catalog.pins import PinRow
from gpuwright.catalog.version import numbers


@dataclass(frozen=True)
class NvidiaCatalog:
    """All rows of the file, in its order."""

    architectures: tuple[ArchitectureRow, ...]
    branches: tuple[BranchRow, ...]
    cuda: tuple[CudaRow, ...]
    toolkits: tuple[ToolkitRow, ...]
    build_rules: tuple[BuildRule, ...]
    packages: tuple[PackageSet, ...]
    repositories: tuple[CudaRepository, ...]
    public: tuple[PublicRow, ...]
    local: tuple[LocalRepositoryRow, ...]
    pins: tuple[PinRow, ...]
    origins: tuple[OriginRow, ...]
    driver_packages: tuple[DriverPackageRow, ...]
    unsupported: tuple[UnsupportedRow, ...]
    switches: tuple[SwitchRow, ...]
    boards: tuple[BoardRow, ...]
    fabrics: tuple[FabricRow, ...]
    nvlink5: tuple[NvLink5Row, ...]
    imex: tuple[ImexRow, ...]
    imex_use: tuple[ImexUse, ...]
    options: tuple[OptionRow, ...]
    boot: tuple[BootRow, ...]
    locked_clocks: tuple[LockedClocksRow, ...]
    persistence: tuple[PersistenceRow, ...]
    blacklists: tuple[BlacklistRow, ...]
    unattended: tuple[UnattendedRow, ...]

    @classmethod
    def read(cls, data: dict[str, list[dict[str, object]]]) -> NvidiaCatalog:
        """The rows of `data`. Raises pydantic's ValidationError for a row that is wrong."""
        return cls(
            tuple(ArchitectureRow.model_validate(row) for row in data["architecture"]),
            tuple(BranchRow.model_validate(row) for row in data["branch"]),
            tuple(CudaRow.model_validate(row) for row in data["cuda"]),
            tuple(ToolkitRow.model_validate(row) for row in data["toolkit"]),
            tuple(BuildRule.model_validate(row) for row in data["build_rule"]),
            tuple(PackageSet.model_validate(row) for row in data["packages"]),
            tuple(CudaRepository.model_validate(row) for row in data["repository"]),
            tuple(PublicRow.model_validate(row) for row in data["public"]),
            tuple(LocalRepositoryRow.model_validate(row) for row in data["local_repository"]),
            tuple(PinRow.model_validate(row) for row in data["pin"]),
            tuple(OriginRow.model_validate(row) for row in data["origin"]),
            tuple(DriverPackageRow.model_validate(row) for row in data["driver_package"]),
            tuple(UnsupportedRow.model_validate(row) for row in data["unsupported"]),
            tuple(SwitchRow.model_validate(row) for row in data["nvswitch"]),
            tuple(BoardRow.model_validate(row) for row in data["nvswitch_board"]),
            tuple(FabricRow.model_validate(row) for row in data["fabric"]),
            tuple(NvLink5Row.model_validate(row) for row in data["fabric_nvlink5"]),
            tuple(ImexRow.model_validate(row) for row in data["imex"]),
            tuple(ImexUse.model_validate(row) for row in data["imex_use"]),
            tuple(OptionRow.model_validate(row) for row in data["option"]),
            tuple(BootRow.model_validate(row) for row in data["boot"]),
            tuple(LockedClocksRow.model_validate(row) for row in data["locked_clocks"]),
            tuple(PersistenceRow.model_validate(row) for row in data["persistence"]),
            tuple(BlacklistRow.model_validate(row) for row in data["blacklist"]),
            tuple(UnattendedRow.model_validate(row) for row in data["unattended"]),
        )

    def architecture(self, arch: str) -> ArchitectureRow | None:
        """The row of an architecture."""
        return next((row for row in self.architectures if row.arch == arch), None)

    def branch(self, number: int) -> BranchRow | None:
        """The row of a branch."""
        return next((row for row in self.branches if row.branch == number), None)

    def toolkit(self, version: str) -> ToolkitRow | None:
        """The row of a toolkit."""
        return next((row for row in self.toolkits if row.version == version), None)

    def cuda_of(self, toolkit: ToolkitRow) -> CudaRow:
        """The row of its major version."""
        return next(row for row in self.cuda if row.major == numbers(toolkit.version)[0])

    def repository(self, os: str, arch: str) -> CudaRepository | None:
        """NVIDIA's repository for a release; None where it has none."""
        return next((row for row in self.repositories if (row.os, row.arch) == (os, arch)), None)

    def sets(self, os: str, source: str) -> tuple[PackageSet, ...]:
        """What one source offers for a release."""
        return tuple(row for row in self.packages if os in row.os and row.source_of == source)

    def is_driver_package(self, name: str, version: str) -> bool:
        """Whether an installed package is a part of NVIDIA's driver."""
        return any(row.fits(name, version) for row in self.driver_packages)
