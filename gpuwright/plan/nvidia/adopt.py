"""What NVIDIA driver earlier hands left on a host, and whether it can stay."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from gpuwright.catalog import Catalog
from gpuwright.catalog.nvidia_driver import PackageSet, Source
from gpuwright.catalog.version import numbers
from gpuwright.errors import Refusal
from gpuwright.facts import HostFacts
from gpuwright.facts.model import Driver, InstalledPackage
from gpuwright.plan.imex import WHOSE
from gpuwright.plan.nvidia.choice import SOURCES, Candidate, Site
from gpuwright.plan.nvidia.window import FLAVOURS, Window

SUBJECT = "nvidia driver"
RUN = "nvidia-run"


@dataclass(frozen=True)
class There:
    """A driver on the host.

    `source` is None where it came from no packages; `outer`: it belongs to the machine around a container.
    `modules` is open, proprietary or unknown. `works`: the module is loaded, or lies ready for the kernel.
    `packages` are the driver's, `installed` all that the facts name. `row` is the set of the catalogue that most of is
    there, for a kernel metapackage's suffix `kernel`; `prebuilt`: modules for a kernel are among the packages.
    """

    source: Source | None
    outer: bool
    version: str
    branch: int
    modules: str
    works: bool
    packages: tuple[str, ...] = ()
    installed: frozenset[str] = frozenset()
    row: PackageSet | None = None
    kernel: str = ""
    prebuilt: bool = False

    @property
    def whole(self) -> bool:
        """Whether all of `row` is installed."""
        row = self.row
        if row is None or not row.has(self.branch):
            return False
        return self.installed.issuperset(row.names(self.branch, self.kernel))

    def named_by_branch(self) -> tuple[str, ...]:
        """Those of its packages that have its branch in their names: nvidia-dkms-580-open."""
        return tuple(name for name in self.packages if str(self.branch) in name.split("-"))


def found_driver(facts: HostFacts, catalog: Catalog, site: Site) -> There | Refusal | None:
    """The driver that is there; None on a host without one; a refusal where two hands have been at work."""
    driver = next((driver for driver in facts.found.drivers if driver.name == "nvidia"), None)
    if facts.in_container or (driver and driver.origin == "outside"):
        return _unmanaged(driver, outer=True) if driver else _none_in_container()
    packages = [p for p in facts.found.packages if catalog.nvidia.is_driver_package(p.name, p.version)]
    sources = [source for source in SOURCES if _marked(packages, source, site, catalog)]
    if len(sources) > 1:
        return _two_sources(packages, site, catalog)
    installer = next((item.detail for item in facts.found.leftovers if item.kind == RUN), None)
    if installer is None and driver and driver.origin == "run":
        installer = driver.version
    if installer is not None and (sources or driver is None):
        return _beside_installer(installer, packages)
    if sources:
        return _packaged(facts, driver, packages, sources[0], site, catalog)
    return _unmanaged(driver, outer=False) if driver else None


def misfit(there: There, window: Window, source: str) -> str:
    """Why a driver cannot stay, "" where it runs all cards and satisfies the settings; `source` is declared or auto."""
    flavours = (there.modules,) if there.modules in FLAVOURS else FLAVOURS
    if not there.works:
        return "the running kernel has no module of it"
    if not window.has(there.branch):
        return f"{window} is needed"
    if not set(flavours) <= set(window.modules):
        return f"{' or '.join(window.modules)} modules are needed, and its are {there.modules}"
    if source not in ("auto", there.source):
        return f"{WHOSE[source]} packages are declared"
    return ""


def is_installed(candidate: Candidate, there: There, site: Site) -> bool:
    """Whether these very packages are what is there."""
    at_branch = (there.source, there.branch) == (candidate.row.source_of, candidate.branch.branch)
    return at_branch and there.installed.issuperset(candidate.names(site))


def _unmanaged(driver: Driver, *, outer: bool) -> There:
    branch = (*numbers(driver.version), 0)[0]
    return There(None, outer, driver.version or "of unknown version", branch, driver.modules, works=True)


def _packaged(
    facts: HostFacts,
    driver: Driver | None,
    packages: list[InstalledPackage],
    source: Source,
    site: Site,
    catalog: Catalog,
) -> There:
    branches = Counter(numbers(package.version)[0] for package in packages)
    branch = branches.most_common(1)[0][0]
    installed = frozenset(package.name for package in facts.found.packages)
    known = driver.modules if driver and driver.modules in FLAVOURS else ""
    nearest: tuple[tuple[bool, float], PackageSet, str] | None = None
    for row in catalog.nvidia.sets(site.os, source):
        if known not in ("", row.modules):
            continue
        for kernel in dict.fromkeys((site.modules_for, site.kernel, *row.kernels)):
            names = row.names(branch, kernel)
            share = row.has(branch), len(installed.intersection(names)) / len(names)
            if nearest is None or share > nearest[0]:
                nearest = share, row, kernel
    return There(
        source=source,
        outer=False,
        version=next(p.version for p in packages if numbers(p.version)[0] == branch),
        branch=branch,
        modules=known or (nearest[1].modules if nearest and nearest[0] == (True, 1) else "unknown"),
        works=driver is not None,
        packages=tuple(sorted(package.name for package in packages)),
        installed=installed,
        row=nearest[1] if nearest else None,
        kernel=nearest[2] if nearest else "",
        prebuilt=any(row.is_prebuilt(name) for row in catalog.nvidia.driver_packages for name in installed),
    )


def _marked(packages: list[InstalledPackage], source: str, site: Site, catalog: Catalog) -> list[str]:
    rows = [row for row in catalog.nvidia.origins if site.os in row.os and row.source_of == source]
    return [p.name for p in packages if any(row.marks(p.name, p.version) for row in rows)]


def _two_sources(packages: list[InstalledPackage], site: Site, catalog: Catalog) -> Refusal:
    ours, theirs = (_marked(packages, source, site, catalog) for source in SOURCES)
    return Refusal(
        SUBJECT,
        f"the distribution's packages ({', '.join(ours[:3])}) and NVIDIA's ({', '.join(theirs[:3])}) are installed "
        "together",
        "one driver from one source",
        "Remove one of the two with apt-get purge, reboot, and run again.",
    )


def _beside_installer(installer: str, packages: list[InstalledPackage]) -> Refusal:
    names = ", ".join(package.name for package in packages[:3])
    return Refusal(
        SUBJECT,
        f"NVIDIA's .run installer has been here ({installer}), "
        + (f"and packages are installed beside it ({names})" if names else "and its module is not in use"),
        "one driver from one source",
        "Run nvidia-uninstall, reboot, and run again; or repair what the installer made, and it will be adopted.",
    )


def _none_in_container() -> Refusal:
    return Refusal(
        SUBJECT,
        "the host is a container, and no driver is loaded in the kernel around it",
        "a driver on the outer host",
        "Install it there and pass the GPUs in, or leave the cards out of ours (interconnect_display_gpus).",
    )
