"""Slices `kernel_steps`, `nvidia_driver` and `rocm`: what is written, installed and booted for what was decided."""

from __future__ import annotations

from dataclasses import dataclass

from gpuwright.catalog import Catalog
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import DriverPlan, FabricPlan, FirmwarePlan, HoldsPlan, KernelPlan
from gpuwright.plan.kernel.choice import planned_build
from gpuwright.plan.kernel.policy import build_command
from gpuwright.plan.model import AptPin, ManagedFile, Unit
from gpuwright.plan.notes import Notes
from gpuwright.plan.nvidia.model import NvidiaDriverPlan
from gpuwright.plan.stack_model import (
    ArchiveReach,
    BootPlan,
    DriverSteps,
    KernelRepository,
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
TOOLKIT = "cuda-toolkit"
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
class DaemonCommand:
    """Context of a drop-in of a daemon's unit."""

    command: str


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
        return KernelSteps((), (), files, (), ())
    image = _image(kernel)
    managed = tuple(driver for driver in drivers if driver.delivery != "unmanaged")
    modules = tuple(driver.module for driver in managed)
    signed = facts.boot.secure_boot == "enabled" and any(driver.delivery == "dkms" for driver in managed)
    boots: tuple[BootPlan, ...] = ()
    if image or kernel.arguments:
        declared = settings.kernel.kernel_reboot
        fallback = declared if kernel.fallback == "none" and declared == "no_fallback" else kernel.fallback
        boots = (BootPlan(image, kernel.arguments, facts.boot.loader, fallback, modules, signed),)
    if not image:
        return KernelSteps((), (), files, (), boots)
    repositories = _repositories(facts, settings, catalog, kernel, notes)
    reach = (ArchiveReach("kernel", facts.os_codename, (), (kernel.suite,)),) if kernel.suite else ()
    known = _known_errors(catalog)
    locked = LockedSet(
        "kernel", (), kernel.packages, kernel.suite, _patterns(catalog, "kernel"), known_errors=known
    )
    return KernelSteps(reach, repositories, files, (locked,), boots)


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
    if isinstance(driver, NvidiaDriverPlan) and driver.toolkit:
        why = "nvidia_driver_cuda_toolkit: it changes without the driver, and the driver without it"
        notes.why(f"{path}.locked.{len(locked)}", why, "slice drivers")
        rows = catalog.nvidia.toolkits
        parts = tuple(row.parts for row in rows if row.package in driver.toolkit)
        locked += (LockedSet(TOOLKIT, (), driver.toolkit, "", parts),)
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
    files = _files(driver, fabric)
    for_units = _of_daemons(driver, facts, catalog, f"{path}.files", len(files), notes)
    return DriverSteps(
        reach=(reach,) if everything or suite else (),
        repositories=driver.repositories,
        files=files + tuple(file for _, file in for_units),
        locked=locked,
        modules=(module,),
        units=tuple(
            Unit(name, watches=(modprobe, *(file.path for unit, file in for_units if unit == name)))
            for name in units
        ),
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


def _repositories(
    facts: HostFacts, settings: HostSettings, catalog: Catalog, kernel: KernelPlan, notes: Notes
) -> tuple[KernelRepository, ...]:
    """Where a kernel that is built comes from; none for one of the distribution's."""
    row = planned_build(facts.release, catalog, kernel)
    if row is None:
        return ()
    notes.why(
        "kernel_steps.repositories",
        f"kernel_repository: no archive has {row.image}, the control machine does",
        f"setting kernel_repository; {row.source}",
    )
    declared = settings.kernel.kernel_repository or ""
    command = build_command(row, catalog)
    return (KernelRepository(declared, facts.os_codename, row.image, command),)


def _of_daemons(
    driver: DriverPlan, facts: HostFacts, catalog: Catalog, path: str, place: int, notes: Notes
) -> tuple[tuple[str, ManagedFile], ...]:
    """Files that a unit reads, with its name; the first will be at `place` of `path` in the plan."""
    daemon, use = catalog.nvidia.boot[0].persistence, catalog.nvidia.imex_use[0]
    found: tuple[tuple[str, ManagedFile], ...] = ()
    for row in catalog.nvidia.persistence if daemon in driver.units else ():
        if facts.release in row.os and row.source_of == driver.source:
            why = "power_persistence: the unit of these packages starts the daemon without it"
            notes.why(f"{path}.{place}", why, row.source)
            drop_in = f"/etc/systemd/system/{daemon}.d/gpuwright.conf"
            template = "nvidia_driver/persistenced.conf.j2"
            found += ((daemon, ManagedFile(drop_in, template, DaemonCommand(row.command))),)
    if isinstance(driver, NvidiaDriverPlan) and driver.imex_nodes:
        notes.why(f"{path}.{place + len(found)}", "nvidia_driver_imex_nodes", use.source)
        nodes = Names(driver.imex_nodes)
        found += ((use.unit, ManagedFile(use.nodes, "nvidia_driver/imex-nodes.cfg.j2", nodes)),)
    return found


def _image(kernel: KernelPlan) -> str:
    """The package that brings the planned kernel; none where the one that runs stays."""
    return kernel.packages[0] if kernel.packages else ""


def _patterns(catalog: Catalog, owner: str) -> tuple[str, ...]:
    rows = (row for row in catalog.nvidia.unattended if row.of == owner)
    return tuple(pattern for row in rows for pattern in row.patterns)


def _known_errors(catalog: Catalog) -> tuple[tuple[str, str], ...]:
    rules = {rule.error: rule.name for rule in catalog.nvidia.build_rules if rule.error}
    return tuple(rules.items())
