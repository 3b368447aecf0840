"""Slice `firmware`: what the GPUs load."""

from __future__ import annotations

from gpuwright.catalog import Catalog
from gpuwright.catalog.amd import FirmwareRow
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import DriverPlan, FirmwarePlan, Gpu, KernelPlan
from gpuwright.plan.notes import Notes
from gpuwright.settings import HostSettings

NOTHING = FirmwarePlan((), (), "")


def plan_firmware(
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    gpus: tuple[Gpu, ...],
    drivers: tuple[DriverPlan, ...],
    kernel: KernelPlan,
    notes: Notes,
) -> FirmwarePlan:
    """Firmware packages new enough for every AMD card that the kernel's own driver runs.

    NVIDIA's firmware comes with its driver's packages, whatever their source.
    """
    driver = next((driver for driver in drivers if driver.vendor == "amd"), None)
    if driver is None:
        notes.why("firmware", "no card needs firmware of its own", "NVIDIA's driver packages bring theirs")
        return NOTHING
    if driver.delivery != "in-tree":
        notes.why(
            "firmware",
            "amdgpu-dkms brings its own, which goes before the distribution's"
            if driver.delivery == "dkms"
            else "whoever brought the driver brings its firmware",
            "ROCm/legacy-rocm-build issue 5991 (amdgpu-dkms-firmware)",
        )
        return NOTHING
    targets = tuple(sorted({gpu.target for gpu in gpus if gpu.vendor == "amd" and gpu.use == "compute"}))
    row = firmware_for(facts, catalog, targets)
    if row is None:
        newest = [row for row in catalog.amd.firmware if row.os == facts.release][-1:]
        missing = [target for target in targets if not newest or target not in newest[0].targets]
        notes.refuse(
            "firmware",
            f"no package of {facts.os_name} is known to have files for {', '.join(missing) or ' and '.join(targets)}",
            "firmware for every card that computes",
            'Install a newer release, or set rocm_driver = "dkms", which brings its own.',
        )
        return NOTHING
    _bad(facts, catalog, targets, notes)
    where = f" of {row.suite}" if row.suite else ""
    notes.why(
        "firmware", f"{row.package} {row.version}{where} has files for {', '.join(targets)}", row.source
    )
    return FirmwarePlan((row.package,), row.components, row.suite)


def firmware_for(facts: HostFacts, catalog: Catalog, targets: tuple[str, ...]) -> FirmwareRow | None:
    """The first package of the release with files for all of `targets`."""
    rows = (row for row in catalog.amd.firmware if row.os == facts.release)
    return next((row for row in rows if set(targets) <= set(row.targets)), None)


def _bad(facts: HostFacts, catalog: Catalog, targets: tuple[str, ...], notes: Notes) -> None:
    for row in catalog.amd.bad_firmware:
        hit = sorted(set(targets) & set(row.targets))
        for package in facts.found.packages:
            if hit and package.name == row.package and package.version.startswith(row.versions):
                notes.refuse(
                    "firmware",
                    f"{package.name} {package.version} is installed, with which {', '.join(hit)} hangs",
                    f"another version than {' and '.join(row.versions)}",
                    f"Upgrade it: apt-get install --only-upgrade {package.name}.",
                )
