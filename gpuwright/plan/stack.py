"""Slices `kernel_steps`, `nvidia_driver` and `rocm`: what is written, installed and booted for what was decided."""

from __future__ import annotations

from dataclasses import dataclass

from gpuwright.catalog import Catalog
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import DriverPlan, FabricPlan, FirmwarePlan, HoldsPlan, KernelPlan
from gpuwright.plan.model import AptPin, ManagedFile, Unit
from gpuwright.plan.notes import Notes
from gpuwright.plan.stack_model import (
    ArchiveReach,
    BootPlan,
    DriverSteps,
    KernelSteps,
    LockedSet,
    ModuleSet,
)
from gpuwright.settings import HostSettings

UNATTENDED = "/etc/apt/apt.conf.d/52gpuwright-unattended"
NOTHING = DriverSteps((), (), (), (), (), ())
# What holds a driver: its device nodes. A display server's /dev/dri/card* are another driver's on most servers.
DEVICES = {"nvidia": ("/dev/nvidia*",), "amd": ("/dev/kfd", "/dev/dri/renderD*")}
# What the kernel calls the module, however a package calls its file.
LOADED = {"nvidia": "nvidia", "amd": "amdgpu"}
NAMES = {"nvidia": "nvidia_driver", "amd": "rocm"}


@dataclass(frozen=True)
class Preferences:
    """Context of a file of apt_preferences(5)."""

    pins: tuple[AptPin, ...]


@dataclass(frozen=True)
class ModprobeConf:
    """Context of a file of modprobe.d(5)."""

    blacklist: tuple[str, ...]
    module: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Names:
    """Context of a file that lists names."""

    names: tuple[str, ...]


def plan_kernel_steps(
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    kernel: KernelPlan,
    drivers: tuple[DriverPlan, ...],
    holds: HoldsPlan,
    notes: Notes,
) -> KernelSteps:
    """The kernel's packages and boot; nothing on a host that keeps its kernel and its command line."""
    notes.why("kernel_steps", "what the kernel of the plan needs", "slice kernel")
    files = (
        (ManagedFile(UNATTENDED, "kernel/unattended.conf.j2", Names(holds.unattended)),)
        if holds.unattended
        else ()
    )
    if facts.in_container:
        return KernelSteps((), files, (), ())
    image = _image(kernel)
    modules = tuple(driver.module for driver in drivers if driver.delivery != "unmanaged")
    boots: tuple[BootPlan, ...] = ()
    if image or kernel.arguments:
        declared = settings.kernel.kernel_reboot
        fallback = declared if kernel.fallback == "none" and declared == "no_fallback" else kernel.fallback
        boots = (BootPlan(image, kernel.arguments, facts.boot.loader, fallback, modules),)
    if not image:
        return KernelSteps((), files, (), boots)
    reach = (ArchiveReach("kernel", facts.os_codename, (), (kernel.suite,)),) if kernel.suite else ()
    known = _known_errors(catalog)
    locked = LockedSet(
        "kernel", (), kernel.packages, kernel.suite, _patterns(catalog, "kernel"), known_errors=known
    )
    return KernelSteps(reach, files, (locked,), boots)


def plan_driver_steps(
    vendor: str,
    facts: HostFacts,
    catalog: Catalog,
    kernel: KernelPlan,
    drivers: tuple[DriverPlan, ...],
    fabric: FabricPlan,
    firmware: FirmwarePlan,
    notes: Notes,
) -> DriverSteps:
    """One vendor's driver; `vendor` is nvidia or amd."""
    path = NAMES[vendor]
    notes.why(path, f"what the {vendor} driver of the plan needs", "slice drivers")
    driver = next((each for each in drivers if each.vendor == vendor), None)
    if driver is None or driver.delivery == "unmanaged":
        return NOTHING
    packages, components, units = driver.packages, driver.components, driver.units
    locked: tuple[LockedSet, ...] = ()
    if vendor == "nvidia":
        packages, components, units = (
            packages + fabric.packages,
            components + fabric.components,
            units + fabric.units,
        )
    elif firmware.packages:
        # A set of its own: apt's --target-release would take all else from backports as well.
        components += firmware.components
        locked = (LockedSet("amd-firmware", (), firmware.packages, firmware.suite, ()),)
    suite = firmware.suite if locked else ""
    known = _known_errors(catalog)
    if driver.first or packages:
        patterns = _patterns(catalog, vendor)
        daemons = (catalog.nvidia.boot[0].persistence, *fabric.units) if vendor == "nvidia" else ()
        locked += (LockedSet(vendor, driver.first, packages, "", patterns, DEVICES[vendor], daemons, known),)
    module = ModuleSet(
        vendor,
        LOADED[vendor],
        driver.module,
        driver.delivery,
        DEVICES[vendor],
        driver.blacklist,
        _image(kernel),
        facts.boot.secure_boot == "enabled",
        known,
    )
    everything = tuple(dict.fromkeys(components))
    reach = ArchiveReach(vendor, facts.os_codename, everything, (suite,) if suite else ())
    modprobe = f"/etc/modprobe.d/gpuwright-{vendor}.conf"
    return DriverSteps(
        reach=(reach,) if everything or suite else (),
        repositories=driver.repositories,
        files=_files(driver, fabric),
        locked=locked,
        modules=(module,),
        units=tuple(Unit(name, watches=(modprobe,)) for name in units),
    )


def _files(driver: DriverPlan, fabric: FabricPlan) -> tuple[ManagedFile, ...]:
    vendor = driver.vendor
    files: tuple[ManagedFile, ...] = ()
    if driver.pins:
        path = f"/etc/apt/preferences.d/gpuwright-{vendor}"
        files += (ManagedFile(path, "nvidia_driver/preferences.j2", Preferences(driver.pins)),)
    if driver.options or driver.blacklist:
        path = f"/etc/modprobe.d/gpuwright-{vendor}.conf"
        conf = ModprobeConf(driver.blacklist, driver.module, driver.options)
        files += (ManagedFile(path, "nvidia_driver/modprobe.conf.j2", conf),)
    load = driver.load + (fabric.modules if vendor == "nvidia" else ())
    if load:
        path = f"/etc/modules-load.d/gpuwright-{vendor}.conf"
        files += (ManagedFile(path, "nvidia_driver/modules-load.conf.j2", Names(load)),)
    return files


def _image(kernel: KernelPlan) -> str:
    """The package that brings the planned kernel; none where the one that runs stays, or a built one is to come."""
    return kernel.packages[0] if kernel.packages and kernel.flavour not in ("keep", "built") else ""


def _patterns(catalog: Catalog, owner: str) -> tuple[str, ...]:
    rows = (row for row in catalog.nvidia.unattended if row.of == owner)
    return tuple(pattern for row in rows for pattern in row.patterns)


def _known_errors(catalog: Catalog) -> tuple[tuple[str, str], ...]:
    rules = {rule.error: rule.name for rule in catalog.nvidia.build_rules if rule.error}
    return tuple(rules.items())
