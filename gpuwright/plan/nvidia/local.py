"""A driver from NVIDIA's local repository, a file of the control machine: what its name says, and whether it fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from gpuwright.catalog import Catalog
from gpuwright.catalog.nvidia_driver import LocalRepositoryRow
from gpuwright.catalog.version import numbers
from gpuwright.errors import Refusal
from gpuwright.plan.model import AptPin, AptRepository
from gpuwright.plan.nvidia.choice import Site
from gpuwright.plan.nvidia.window import Window
from gpuwright.settings.gpus import NvidiaDriverSettings

SUBJECT = "setting nvidia_driver_local_repository"


@dataclass(frozen=True)
class LocalRepository(AptRepository):
    """The repository that package `package`, of version `packaging`, unpacks; it brings its source, and its key beside.

    `file` is the package on the control machine, as it is declared. Files that fit `keyrings` belong into `trusted`;
    packages that fit `others` are of the same kind.
    """

    file: str
    package: str
    packaging: str
    keyrings: str
    trusted: str
    others: str


@dataclass(frozen=True)
class DriverFile:
    """A file that fits the host: the driver version in it, its repository and its pin."""

    row: LocalRepositoryRow
    version: str
    repository: LocalRepository
    pin: AptPin

    @property
    def branch(self) -> int:
        """580 of 580.95.05."""
        return numbers(self.version)[0]

    def offered(self, catalog: Catalog) -> Catalog:
        """The catalogue with nothing of NVIDIA's but what is in the file: one version, and no pinning package."""
        rows = tuple(
            row.model_copy(update={"version": self.version, "before": ()})
            for row in catalog.nvidia.packages
            if row.source_of == "nvidia" and row.has(self.branch)
        )
        return replace(catalog, nvidia=replace(catalog.nvidia, packages=rows))

    def narrowed(self, window: Window) -> Window:
        """The branch of the file alone, as if it were declared."""
        return replace(window, first=self.branch, last=self.branch, declared=True)


def driver_file(
    ours: NvidiaDriverSettings, site: Site, window: Window, catalog: Catalog
) -> DriverFile | tuple[Refusal, ...] | None:
    """The file that is declared; None where none is; or everything that it does not fit."""
    declared = ours.nvidia_driver_local_repository
    if declared is None:
        return None
    row = catalog.nvidia.local[0]
    name = PurePosixPath(declared).name
    said = row.read(name)
    if said is None:
        example = "nvidia-driver-local-repo-<os>-<version>_<revision>_<arch>.deb"
        observed = f"{name} is not a name that NVIDIA gives: nothing says which release and version it is for"
        return (Refusal(SUBJECT, observed, example, "Give the file its own name back, or take another one."),)
    refusals = tuple(_misfits(name, said, ours, site, window, catalog))
    if refusals:
        return refusals
    repository = LocalRepository(
        name="nvidia-driver-local",
        uri=row.uri.format(**said),
        suite="/",
        components=(),
        architecture=site.debian_arch,
        key_url="",
        key_fingerprint="",
        file=declared,
        package=row.package.format(**said),
        packaging=said["packaging"],
        keyrings=row.keyrings,
        trusted=row.trusted,
        others=row.others,
    )
    pin = AptPin(row.pin_name, row.pin_packages, row.pin, row.priority)
    return DriverFile(row, said["version"], repository, pin)


def _misfits(
    name: str, said: dict[str, str], ours: NvidiaDriverSettings, site: Site, window: Window, catalog: Catalog
) -> Iterator[Refusal]:
    os = site.os.replace(" ", "").replace(".", "")
    branch = numbers(said["version"])[0]
    if said["os"] != os:
        remedy = "Take the file for this release, or declare it for hosts of its own."
        yield Refusal(SUBJECT, f"{name} is for {said['os']}", f"a file for {os}", remedy)
    if said["arch"] != site.debian_arch:
        remedy = "Take the file for this architecture, or declare it for hosts of its own."
        yield Refusal(SUBJECT, f"{name} is for {said['arch']}", f"a file for {site.debian_arch}", remedy)
    if not window.has(branch):
        remedy = f"Take a file with a driver of {window}, or remove the card or setting that asks for it."
        yield Refusal(SUBJECT, f"{name} has branch {branch}, and {window} is needed", str(window), remedy)
    elif catalog.nvidia.branch(branch) is None:
        known = ", ".join(str(row.branch) for row in catalog.nvidia.branches)
        observed = f"{name} has branch {branch}, which is not in the catalogue"
        yield Refusal(
            SUBJECT, observed, f"one of {known}", "Take another file, or add the branch with a source."
        )
    if ours.nvidia_driver_source == "distribution":
        observed = 'the driver is in a file of NVIDIA\'s, and nvidia_driver_source is "distribution"'
        yield Refusal(SUBJECT, observed, "one driver from one source", "Declare one of the two.")
    if ours.nvidia_driver_mirror is not None:
        observed = "nvidia_driver_mirror is declared as well"
        yield Refusal(SUBJECT, observed, "one place that the driver comes from", "Declare one of the two.")
