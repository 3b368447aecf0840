"""The catalogue: decision data as TOML, each row with its source. No version or package name lives in code."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from gpuwright.catalog.amd import AmdCatalog
from gpuwright.catalog.architectures import ArchitectureShape
from gpuwright.catalog.engines import EngineRow, IdleRow
from gpuwright.catalog.gpus import GpuCatalog, GpuRow, PriceRow
from gpuwright.catalog.kernels import KernelCatalog
from gpuwright.catalog.nvidia import NvidiaCatalog
from gpuwright.catalog.row import Row
from gpuwright.catalog.runtimes import CdiRow, DeviceNodesRow, DockerFeatureRow, DockerRow, RuntimeRow


class OsRow(Row):
    id: str
    version: str
    codename: str
    tried: str


class ArchiveRow(Row):
    id: str
    keyring: str
    replaces: tuple[str, ...]


class PackageRow(Row):
    purpose: str
    names: tuple[str, ...]
    os: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()


class RepositoryRow(Row):
    name: str
    uri: str
    components: tuple[str, ...]
    key_url: str
    key_fingerprint: str


class WheelRow(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    distribution: str
    version: str
    member: str
    sha256: str


class ModelRow(Row):
    name: str
    license: str
    wheel: WheelRow
    bytes: int
    shape: str
    quantisation: str


@dataclass(frozen=True)
class Catalog:
    """All rows, in file order: the first row that fits holds."""

    releases: tuple[OsRow, ...]
    archives: tuple[ArchiveRow, ...]
    packages: tuple[PackageRow, ...]
    repositories: tuple[RepositoryRow, ...]
    engines: tuple[EngineRow, ...]
    idle: tuple[IdleRow, ...]
    models: tuple[ModelRow, ...]
    gpus: GpuCatalog
    kernels: KernelCatalog
    nvidia: NvidiaCatalog
    amd: AmdCatalog
    runtimes: tuple[RuntimeRow, ...]
    cdi: tuple[CdiRow, ...]
    device_nodes: tuple[DeviceNodesRow, ...]
    docker_features: tuple[DockerFeatureRow, ...]
    dockers: tuple[DockerRow, ...]
    architectures: tuple[ArchitectureShape, ...]
    prices: tuple[PriceRow, ...]

    def packages_for(self, purpose: str, os_id: str, os_version: str) -> PackageRow:
        """The package names for a purpose on a release. Raises LookupError when no row fits."""
        for row in self.packages:
            if row.purpose == purpose and (not row.os or f"{os_id} {os_version}" in row.os):
                return row
        raise LookupError(f"no packages for {purpose} on {os_id} {os_version}")


@cache
def load() -> Catalog:
    """The shipped catalogue, read once."""
    packages, releases = _read("packages"), _read("os")
    return Catalog(
        releases=tuple(OsRow.model_validate(row) for row in releases["os"]),
        archives=tuple(ArchiveRow.model_validate(row) for row in releases["archive"]),
        packages=tuple(PackageRow.model_validate(row) for row in packages["packages"]),
        repositories=tuple(RepositoryRow.model_validate(row) for row in packages["repositories"]),
        engines=tuple(EngineRow.model_validate(row) for row in _read("engines")["engine"]),
        idle=tuple(IdleRow.model_validate(row) for row in _read("engines")["idle"]),
        models=tuple(ModelRow.model_validate(row) for row in _read("models")["model"]),
        gpus=GpuCatalog(
            tuple(
                GpuRow.model_validate(row)
                for name in ("gpus_nvidia", "gpus_amd")
                for row in _read(name)["gpu"]
            )
        ),
        kernels=KernelCatalog.read(_read("kernels")),
        nvidia=NvidiaCatalog.read(_read("nvidia")),
        amd=AmdCatalog.read(_read("amd")),
        runtimes=tuple(RuntimeRow.model_validate(row) for row in _read("runtimes")["runtime"]),
        cdi=tuple(CdiRow.model_validate(row) for row in _read("runtimes")["cdi"]),
        device_nodes=tuple(DeviceNodesRow.model_validate(row) for row in _read("runtimes")["device_nodes"]),
        docker_features=tuple(
            DockerFeatureRow.model_validate(row) for row in _read("runtimes")["docker_feature"]
        ),
        dockers=tuple(DockerRow.model_validate(row) for row in _read("runtimes")["docker"]),
        architectures=tuple(
            ArchitectureShape.model_validate(row) for row in _read("architectures")["architecture"]
        ),
        prices=tuple(PriceRow.model_validate(row) for row in _read("prices")["price"]),
    )


def _read(name: str) -> dict[str, list[dict[str, object]]]:
    return tomllib.loads((files(__name__) / f"{name}.toml").read_text(encoding="utf-8"))
