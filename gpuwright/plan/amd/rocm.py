"""ROCm on the host: which release, from which of AMD's repositories, and that there is never a second one."""

from __future__ import annotations

from dataclasses import dataclass

from gpuwright.catalog import Catalog
from gpuwright.catalog.amd import RocmRow, TargetRow
from gpuwright.catalog.version import numbers
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import Gpu
from gpuwright.plan.model import AptRepository, Reason
from gpuwright.plan.notes import Notes
from gpuwright.settings import HostSettings


@dataclass(frozen=True)
class Rocm:
    """What the host gets of ROCm. `row` is the release that driver and containers go with, None for any."""

    row: RocmRow | None
    repositories: tuple[AptRepository, ...]
    packages: tuple[str, ...]
    why: Reason


def plan_rocm(
    facts: HostFacts, settings: HostSettings, catalog: Catalog, gpus: tuple[Gpu, ...], notes: Notes
) -> Rocm:
    """The release for all of `gpus`, AMD's that compute; refusals are noted where none fits."""
    declared = settings.rocm.rocm_version
    why = Reason("rocm_packages is none: containers bring ROCm", "setting rocm_packages")
    if settings.rocm.rocm_packages == "none" and declared == "auto":
        return Rocm(None, (), (), why)
    os = facts.release
    rows = [row for row in catalog.amd.rocm if declared in ("auto", row.version)]
    if not rows:
        versions = ", ".join(row.version for row in catalog.amd.rocm)
        notes.refuse(
            "setting rocm_version",
            f'"{declared}" is not in the catalogue',
            f"one of {versions}",
            'Correct it, or set rocm_version = "auto".',
        )
        return Rocm(None, (), (), why)
    if settings.rocm.rocm_packages == "none":
        _supported(rows[0], catalog, gpus, declared, notes)
        return Rocm(rows[0], (), (), why)
    there = tuple(row for row in catalog.amd.rocm if _installed(row, facts))
    here = [row for row in rows if os in row.suites] if facts.arch == "x86_64" else []
    fitting = [row for row in here if not _unsupported(row, catalog, gpus)]
    if declared == "auto" and there:
        fitting = [row for row in fitting if row in there]
    if not here:
        notes.refuse(
            "setting rocm_packages",
            f'"runtime" is declared, and AMD has no ROCm {"" if declared == "auto" else f"{declared} "}for {os} on '
            f"{facts.arch}",
            "a release that AMD builds packages for",
            'Set rocm_packages = "none" and let containers bring ROCm.',
        )
    elif not fitting and there and declared == "auto":
        _second(there, None, notes)
    elif not fitting:
        _supported(here[0], catalog, gpus, declared, notes)
    if not fitting:
        return Rocm(None, (), (), why)
    row = fitting[0]
    _second(tuple(other for other in there if other != row), row, notes)
    _left_behind(facts, row, notes)
    targets = dict.fromkeys(gpu.target for gpu in gpus)
    packages = dict.fromkeys(name.format(gfx=gfx) for name in row.packages for gfx in targets)
    reason = "declared" if declared != "auto" else "the newest that supports every card on this release"
    if declared == "auto" and row in there:
        reason = "installed already, and it supports every card"
    return Rocm(
        row,
        (repository("rocm", row.uri.format(distro=row.distros.get(os, "")), row.suites[os], catalog),),
        tuple(packages),
        Reason(f"ROCm {row.version} ({row.generation}): {reason}", row.source),
    )


def repository(name: str, uri: str, suite: str, catalog: Catalog) -> AptRepository:
    """One of AMD's repositories; they are for amd64 only."""
    key = catalog.amd.key(uri)
    return AptRepository(name, uri, suite, key.components, "amd64", key.key_url, key.key_fingerprint)


def gpu_name(gpu: Gpu) -> str:
    """How refusals call a GPU."""
    return f"gpu {gpu.address} ({gpu.name}, {gpu.target})"


def supports(row: RocmRow, target: TargetRow) -> bool:
    """Whether a release has code for a target."""
    first, last = numbers(target.rocm_first), numbers(target.rocm_last)
    return bool(first) and first <= numbers(row.version) and (not last or numbers(row.version) <= last)


def _unsupported(row: RocmRow, catalog: Catalog, gpus: tuple[Gpu, ...]) -> list[Gpu]:
    return [gpu for gpu in gpus if not supports(row, catalog.amd.target(gpu.target))]


def _supported(row: RocmRow, catalog: Catalog, gpus: tuple[Gpu, ...], declared: str, notes: Notes) -> None:
    for gpu in _unsupported(row, catalog, gpus):
        target = catalog.amd.target(gpu.target)
        span = (
            f"ROCm {target.rocm_first} to {target.rocm_last or 'the newest'}" if target.rocm_first else "none"
        )
        override = (
            f" Containers may run a sister target's code on it with HSA_OVERRIDE_GFX_VERSION={target.override}."
            if target.override
            else ""
        )
        what = (
            f"ROCm {declared} does not support" if declared != "auto" else "no ROCm for this release supports"
        )
        notes.refuse(
            gpu_name(gpu),
            f"{gpu.target}, which {what}",
            f"a ROCm release with {gpu.target}, which is: {span}",
            f'Set rocm_packages = "none" and rocm_version = "auto", or remove the card.{override}',
        )


def _installed(row: RocmRow, facts: HostFacts) -> bool:
    """Whether packages of this release are there; before 7.9 only a package's version tells the release."""
    versioned = any(row.version in name for name in row.owned)
    return any(
        package.name.startswith(row.owned) and (versioned or package.version.startswith(f"{row.version}."))
        for package in facts.found.packages
    )


def _second(there: tuple[RocmRow, ...], row: RocmRow | None, notes: Notes) -> None:
    for other in there:
        wanted = f"ROCm {row.version} is wanted" if row else "it does not support every card here"
        keep = f'set rocm_version = "{other.version}", ' if row else ""
        names = " ".join(f"{name}*" for name in other.owned)
        notes.refuse(
            f"ROCm {other.version}",
            f"installed below {other.prefix}, and {wanted}",
            "one ROCm on a host",
            f'Remove it (apt-get purge {names}), {keep}or set rocm_packages = "none".',
        )


def _left_behind(facts: HostFacts, row: RocmRow, notes: Notes) -> None:
    """What other hands left, and what would fight with this release's repository or directories."""
    for leftover in facts.found.leftovers:
        own = leftover.detail == row.prefix or leftover.detail.startswith(f"{row.prefix}.")
        if leftover.kind == "rocm-legacy" and not own:
            notes.refuse(
                f"ROCm in {leftover.detail}",
                f"an older ROCm, and ROCm {row.version} is wanted",
                "one ROCm on a host",
                'Remove it with its packages (apt-get purge rocm-core*), or set rocm_packages = "none".',
            )
        elif leftover.kind == "amdgpu-install":
            notes.refuse(
                "amdgpu-install",
                f"{leftover.detail or 'installed'}: it brings a ROCm repository and a pin of its own",
                "one source of ROCm",
                'Purge it (apt-get purge amdgpu-install), or set rocm_packages = "none".',
            )
