"""What a builder needs, from builder.toml: tools, and room that is checked before anything long begins."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from gpuwright.catalog.row import Row
from gpuwright.errors import GpuwrightError, Refusal

GIB = 1024 * 1024  # in KiB, the unit of df and /proc/meminfo


class Tools(Row):
    """Packages of the release for one purpose."""

    purpose: str
    packages: tuple[str, ...]


class KconfigFiles(Row):
    """Which files of a source tree Kconfig needs, as patterns of tar."""

    patterns: tuple[str, ...]


class Room(Row):
    """Free disk and memory that a kind of work takes."""

    kind: str
    disk_gib: float
    memory_gib: float
    memory_gib_per_job: float


class Needs(BaseModel):
    """All rows of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tools: tuple[Tools, ...]
    kconfig_files: tuple[KconfigFiles, ...]
    room: tuple[Room, ...]

    def packages(self, *purposes: str) -> tuple[str, ...]:
        """What these purposes install."""
        return tuple(name for row in self.tools if row.purpose in purposes for name in row.packages)

    def patterns(self) -> tuple[str, ...]:
        """What of a source tree is unpacked where nothing is compiled."""
        return tuple(pattern for row in self.kconfig_files for pattern in row.patterns)

    def check(self, kind: str, jobs: int, disk_kib: int, memory_kib: int) -> None:
        """Refuse work for which there is no room; GpuwrightError with every shortage."""
        (row,) = (row for row in self.room if row.kind == kind)
        memory = row.memory_gib + jobs * row.memory_gib_per_job
        short = []
        if disk_kib < row.disk_gib * GIB:
            short.append(
                Refusal(
                    "disk of the Docker engine",
                    f"{disk_kib / GIB:.1f} GiB free",
                    f"{row.disk_gib:.0f} GiB for a {kind} build",
                    "Free some (docker system df shows what images and volumes take), or use another engine.",
                )
            )
        if memory_kib < memory * GIB:
            short.append(
                Refusal(
                    "memory of the Docker engine's machine",
                    f"{memory_kib / GIB:.1f} GiB available",
                    f"{memory:.1f} GiB for a {kind} build with {jobs} jobs",
                    "Give fewer --jobs, or end what takes it.",
                )
            )
        if short:
            raise GpuwrightError(*short)


@cache
def load() -> Needs:
    """The file, checked."""
    text = files("gpuwright.kernel_build").joinpath("builder.toml").read_text(encoding="utf-8")
    return Needs.model_validate(tomllib.loads(text))
