"""Which packages bring NVIDIA's driver to a host: the first that nothing stands in the way of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gpuwright.catalog import Catalog
from gpuwright.catalog.nvidia_driver import BranchRow, PackageSet, Source
from gpuwright.errors import Refusal
from gpuwright.facts import HostFacts
from gpuwright.plan.fabric import nvswitches
from gpuwright.plan.gpu_model import Gpu, KernelPlan
from gpuwright.plan.imex import WHOSE
from gpuwright.plan.kernel.choice import built_version, planned_row, running
from gpuwright.plan.nvidia.window import Window, named

# The distribution's come first: they follow its kernels and its security updates, and Ubuntu's are signed.
SOURCES: tuple[Source, ...] = ("distribution", "nvidia")
IMAGE = "linux-image-"
OTHERWISE = 'Set nvidia_driver_source, nvidia_driver_branch and nvidia_driver_modules to "auto".'


@dataclass(frozen=True)
class Site:
    """What a driver meets on a host: `kernel` is the suffix of the kernel's metapackage, `kernel_version` 6.12.117.

    Both are "" where nobody knows the kernel. `kept` is the release of a kernel that stays (6.8.0-52-generic): a
    metapackage of its modules would bring the newest kernel along. `nvlink5`: a board whose switches need a manager
    of their own.
    """

    os: str
    arch: str
    debian_arch: str
    kernel: str
    kernel_version: str
    kept: str
    secure_boot: bool
    nvlink5: bool

    @property
    def modules_for(self) -> str:
        """How packages of prebuilt modules end."""
        return self.kept or self.kernel


@dataclass(frozen=True)
class Candidate:
    """A set of packages at a branch."""

    row: PackageSet
    branch: BranchRow

    def names(self, site: Site) -> tuple[str, ...]:
        """Its packages on a host."""
        return self.row.names(self.branch.branch, site.modules_for)


def site_of(facts: HostFacts, catalog: Catalog, gpus: tuple[Gpu, ...], kernel: KernelPlan) -> Site:
    """The host with the kernel that is planned for it."""
    os = facts.release
    now = running(facts)
    if kernel.flavour == "keep":
        row = catalog.kernels.running(os, now.release) if now else None
    else:
        row = planned_row(facts, catalog, kernel)
    image = row.packages(facts.debian_arch)[0] if row else ""
    version = row.version if row else now.release if now and kernel.flavour == "keep" else ""
    if kernel.flavour == "built":
        version = built_version(catalog, os, kernel)
    return Site(
        os,
        facts.arch,
        facts.debian_arch,
        image.removeprefix(IMAGE),
        version,
        kept=now.release if now and kernel.flavour == "keep" else "",
        secure_boot=facts.boot.secure_boot == "enabled",
        nvlink5=nvswitches(facts, catalog, gpus) == "board",
    )


def choose(
    site: Site, window: Window, sources: tuple[Source, ...], catalog: Catalog
) -> tuple[Candidate | None, tuple[Refusal, ...]]:
    """The best candidate; or None, and what stands in the way of the one that fails at least."""
    failed: list[tuple[Refusal, ...]] = []
    candidates = list(_candidates(site, window, sources, catalog))
    if site.secure_boot:  # what the distribution has signed needs nobody at the console
        candidates.sort(key=lambda candidate: candidate.row.delivery == "dkms")
    for candidate in candidates:
        obstacles = tuple(_obstacles(candidate, site, catalog))
        if not obstacles:
            return candidate, ()
        failed.append(obstacles)
    return None, min(failed, key=len) if failed else (_nothing(site, window, sources, catalog),)


def offered(site: Site, sources: tuple[Source, ...], catalog: Catalog) -> tuple[int, ...]:
    """The branches that these sources have packages of."""
    rows = [row for source in sources for row in catalog.nvidia.sets(site.os, source)]
    branches = (branch.branch for branch in catalog.nvidia.branches)
    return tuple(number for number in branches if any(row.has(number) for row in rows))


def listed(branches: tuple[int, ...]) -> str:
    """Branches for people."""
    return ", ".join(str(number) for number in branches) or "nothing"


def _candidates(
    site: Site, window: Window, sources: tuple[Source, ...], catalog: Catalog
) -> Iterator[Candidate]:
    for branch in sorted((row for row in catalog.nvidia.branches if window.has(row.branch)), key=_rank):
        for source in sources:
            for modules in sorted(window.modules, key=lambda flavour: flavour != branch.modules):
                yield from (
                    Candidate(row, branch)
                    for row in catalog.nvidia.sets(site.os, source)
                    if row.has(branch.branch) and row.modules == modules
                )


def _rank(row: BranchRow) -> tuple[bool, bool, int]:
    """Supported branches before ended ones, long-term ones first; then the oldest supported, or the newest ended."""
    long_term = row.kind == "long-term"
    newest_first = row.ended or long_term
    return row.ended, not row.ended and not long_term, -row.branch if newest_first else row.branch


def _obstacles(candidate: Candidate, site: Site, catalog: Catalog) -> Iterator[Refusal]:
    row = candidate.row
    if row.source_of == "nvidia" and catalog.nvidia.repository(site.os, site.arch) is None:
        yield Refusal(
            "nvidia driver",
            f"NVIDIA has no repository for {site.os} on {site.arch}",
            "a release and an architecture that the catalogue has a repository for",
            "Use a release that NVIDIA serves on this architecture.",
        )
    nvlink5 = catalog.nvidia.nvlink5[0]
    if site.nvlink5 and row.source_of != nvlink5.source_of:
        yield Refusal(
            "fabric manager",
            f"the board is of NVLink 5, and {WHOSE[row.source_of]} packages have no {nvlink5.packages[0]}",
            "the manager of its switches; without it CUDA answers error 802",
            f'Set nvidia_driver_source = "{nvlink5.source_of}" or "auto".',
        )
    if row.conflict:
        yield Refusal("nvidia driver", row.conflict, "packages that apt can install together", OTHERWISE)
    if row.delivery == "dkms":
        version = row.version or candidate.branch.newest
        yield from _does_not_build(row, version, site, catalog)
    elif site.kernel not in row.kernels:
        yield Refusal(
            "nvidia driver",
            f"there are no prebuilt modules for the kernel ({site.kernel or 'unknown'})",
            ", ".join(row.kernels),
            'Set kernel_flavour = "auto", so that a kernel of the distribution boots.',
        )


def _does_not_build(row: PackageSet, version: str, site: Site, catalog: Catalog) -> Iterator[Refusal]:
    """One refusal for all that is in the way: a candidate does not fail the more for each change of the kernel."""
    rules = [
        rule
        for rule in catalog.nvidia.build_rules
        if rule.modules == row.modules
        and site.kernel_version
        and rule.applies(site.kernel_version)
        and not rule.copes(version)
    ]
    if rules:
        known = "; ".join(", ".join(rule.drivers) for rule in rules)
        yield Refusal(
            "nvidia driver",
            f"the {row.modules} modules of {version} do not build on kernel {site.kernel_version}: "
            + "; ".join(rule.name for rule in rules),
            f"a driver that knows {'it' if len(rules) == 1 else 'each'} ({known} or newer in these branches)",
            OTHERWISE,
        )


def _nothing(site: Site, window: Window, sources: tuple[Source, ...], catalog: Catalog) -> Refusal:
    """Why no source offers anything in the window."""
    have = offered(site, sources, catalog)
    whose = " and ".join(
        {"distribution": "the distribution's", "nvidia": "NVIDIA's"}[name] for name in sources
    )
    observed = f"{window} is needed, and {whose} packages for {site.os} have {listed(have)}"
    if any(window.has(number) for number in have):
        observed = f"{whose} packages for {site.os} have no {' or '.join(window.modules)} modules of {window}"
    card = named((window.newest if window.last is None else window.oldest).card)
    return Refusal(
        "setting nvidia_driver_branch" if window.declared else card,
        observed,
        f"{window} from a source that has it",
        'Set nvidia_driver_source, nvidia_driver_branch and nvidia_driver_modules to "auto", or remove the card.',
    )
