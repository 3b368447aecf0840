"""Checks of GPU drivers: which GPUs they hold, in how many versions they are there, and what they complain about."""

from __future__ import annotations

from collections.abc import Iterator

from gpuwright import catalog
from gpuwright.operations.locked_packages import closure
from gpuwright.plan import HostPlan
from gpuwright.plan.gpu_model import DriverPlan
from gpuwright.plan.stack_model import LockedSet
from gpuwright.verify import driver_readings as read
from gpuwright.verify.check import DEPLOY, UNREAD, Finding, check, compare, skipped, unknown
from gpuwright.verify.kernel import not_ours
from gpuwright.verify.parts import planned
from gpuwright.verify.readings import Readings

# What a vendor's driver is called in /sys, whatever its file is called.
KERNEL_NAMES = {"nvidia": "nvidia", "amd": "amdgpu"}
# What a program opens beside the GPU's own node.
COMMON_NODES = {"nvidia": ("/dev/nvidiactl", "/dev/nvidia-uvm"), "amd": ("/dev/kfd",)}
REBOOT = "Reboot the host when its services may stop; a deploy with maintenance=true does it in order."


@check(
    "driver.gpus",
    severity="critical",
    source="/sys/bus/pci; /proc/driver/nvidia/gpus; KFD's topology in sysfs",
)
def gpus(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Is the driver bound to every planned GPU, and does it count each of them?"""
    for driver in plan.drivers:
        name = KERNEL_NAMES[driver.vendor]
        addresses = _addresses(plan, driver)
        expected = _three(addresses, addresses, addresses, name)
        bound, found = readings.gpus, read.counted(readings, driver.vendor)
        if bound is None or found is None or any(address not in bound for address in addresses):
            yield unknown(driver.vendor, UNREAD, expected)
            continue
        held = [address for address in addresses if bound[address] == name]
        listed = [address for address in held if address in {each.address for each in found}]
        lost = [f"{address} (driver {bound[address]})" for address in addresses if address not in listed]
        meaning = f"A GPU that was paid for does nothing: {', '.join(lost)}."
        action = "Read `dmesg` for these addresses: another driver took the card, or it does not answer."
        yield compare(driver.vendor, _three(addresses, held, listed, name), expected, meaning, action)


@check("driver.one-version", severity="critical", source="/sys/module, modinfo(8), dpkg, nvidia-smi")
def one_version(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Are the module on the disk, the user space and what nvidia-smi sees of the version that is loaded?"""
    for driver in plan.drivers:
        name = KERNEL_NAMES[driver.vendor]
        loaded = read.loaded_version(readings, name)
        if loaded is None:
            meaning = "No GPU of this vendor works."
            action = f"`modprobe {driver.module}` says why; if a kernel was updated, reboot."
            yield compare(f"module {name}", "not loaded", "loaded", meaning, action)
            continue
        if not loaded:
            yield skipped(f"module {name}", "the kernel's own, which has no version but the kernel's")
            continue
        yield _on_disk(readings, driver, loaded)
        if driver.vendor == "nvidia":
            yield _in_packages(readings, driver, loaded)
            yield _of_nvidia_smi(readings, loaded)


@check("driver.devices", severity="critical", source="nvidia-modprobe(1); Linux, amdgpu and KFD device nodes")
def devices(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Are the device nodes there that programs open?"""
    for driver in plan.drivers:
        there, found = readings.names("nodes"), read.counted(readings, driver.vendor)
        ours = _addresses(plan, driver)
        own = [each.node for each in found or () if each.address in ours]
        for node in (*COMMON_NODES[driver.vendor], *own):
            observed = None if there is None or found is None else "there" if node in there else "absent"
            meaning = "Programs find no GPU, until something else happens to make the node."
            action = f"Load the modules ({', '.join((driver.module, *driver.load))}). {DEPLOY}"
            yield compare(node, observed, "there", meaning, action)


@check("driver.persistence", severity="minor", source="NVIDIA driver persistence, docs.nvidia.com/deploy")
def persistence(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Does the driver keep each GPU initialised while nobody uses it?"""
    for driver in plan.drivers:
        if driver.vendor != "nvidia":
            continue
        if not plan.power.persistence:
            yield skipped("persistence", "not planned")
            continue
        smi = read.smi(readings)
        for address in _addresses(plan, driver):
            observed = None if smi is None else smi.gpus.get(address, ("", ""))[1] or None
            meaning = "Every first program waits for the GPU, and limits that were set are lost."
            action = "systemctl status nvidia-persistenced; nvidia-smi --persistence-mode=1 sets it until the reboot."
            yield compare(address, observed, "Enabled", meaning, action)


@check("driver.rivals", severity="major", source="modprobe.d(5): blacklist; /sys/module")
def rivals(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Are the drivers that would take the cards first neither loaded nor allowed to be?"""
    expected = "not loaded, blacklisted"
    found = read.rivals(readings)
    for name in dict.fromkeys(name for driver in plan.drivers for name in driver.blacklist):
        rival = None if found is None else found.get(name)
        observed = None
        if rival is not None:
            loaded = "loaded" if rival.loaded else "not loaded"
            observed = f"{loaded}, {'blacklisted' if rival.barred else 'not blacklisted'}"
        meaning = "At this boot or the next it holds the cards, and the planned driver gets none."
        yield compare(name, observed, expected, meaning, f"{DEPLOY} {REBOOT}")


@check("driver.faults", severity="critical", source="the kernel's log; catalog/kernel_log.toml")
def faults(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Has no driver reported a broken or stuck GPU since the boot?"""
    if not plan.drivers:
        return
    log = read.log(readings)
    if log is None:
        yield unknown("kernel log", UNREAD, "no fault of a GPU")
        return
    whole = "since the boot" if log.whole else "in what is left of this boot's log"
    mild = [str(fault) for fault in log.faults if fault.means == "application"]
    grave = [fault for fault in log.faults if fault.means in ("reset", "replace")]
    for fault in grave:
        meaning = "Work on this GPU was lost, and may hang or be wrong until somebody acts."
        action = "Stop the services that use it and reset the GPU, or reboot the host."
        if fault.means == "replace":
            action = (
                "Take the GPU out of use, reboot once; if it comes back: slot, power, riser, then the card."
            )
        yield compare(fault.where, str(fault), f"no fault of a GPU {whole}", meaning, action)
    for fault in log.faults:
        if fault.means == "unknown":
            action = "Look the number up in NVIDIA's Xid catalogue (docs.nvidia.com/deploy/xid-errors)."
            yield unknown(fault.where, str(fault), f"no fault of a GPU {whole}", action)
    if not grave:
        also = f"; of programs: {', '.join(mild)}" if mild else ""
        yield Finding("kernel log", "pass", f"no fault of a GPU {whole}{also}", "no fault of a GPU", "", "")


@check("driver.clients", severity="major", source="the kernel's log, NVRM: API mismatch")
def clients(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Did every program come with libraries of the module's version?"""
    for driver in plan.drivers:
        if driver.vendor != "nvidia":
            continue
        expected = "no program with libraries of another version"
        log, loaded = read.log(readings), read.loaded_version(readings, KERNEL_NAMES["nvidia"])
        # A module that was changed since is another matter: what was said of the old one is over.
        met = [each for each in log.mismatches if each.module == loaded] if log else []
        observed = ", ".join(f"{each.client}: {each.userspace}" for each in met) or expected
        meaning = f"Programs stop with `Driver/library version mismatch`: the module is {loaded}."
        action = f"If packages were upgraded: {REBOOT} If it is a container: its image brings libraries of its own."
        yield compare("kernel log", observed if log else None, expected, meaning, action)


@check(
    "driver.fabric",
    severity="critical",
    source="NVIDIA Fabric Manager user guide: at the driver's very version",
)
def fabric(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Is fabric manager, where NVSwitches need it, at exactly the loaded driver's version?"""
    if not plan.fabric.packages:
        return
    loaded = read.loaded_version(readings, KERNEL_NAMES["nvidia"])
    rows = catalog.load().nvidia
    names = {name for row in rows.fabrics for name in row.packages}
    names |= {name for row in rows.imex for name in row.packages}
    exact = {name.format(branch=driver.branch) for driver in plan.drivers for name in names}
    installed = {package.name: _upstream(package.version) for package in readings.facts.found.packages}
    for name in (name for name in plan.fabric.packages if name in exact):
        if not loaded:
            yield unknown(name, "the driver is not loaded, so there is no version to match", "its version")
            continue
        meaning = "It refuses to start: CUDA answers error 802, or finds no memory of other machines."
        yield compare(name, installed.get(name, "not installed"), loaded, meaning, f"{DEPLOY} {REBOOT}")


@check("packages.held", severity="major", source="apt-mark(8): hold; dpkg's selections")
def held(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Is every package of the locked sets held, with all that it brought, so that none changes without the others?"""
    there = read.locked_packages(readings)
    for locked in planned(plan, LockedSet):
        names = locked.first + locked.packages
        for name in dict.fromkeys((*names, *closure(there or {}, names))):
            package = (there or {}).get(name)
            observed = "not installed" if package is None else "held" if package.held else "not held"
            meaning = "The next upgrade can change it under the module that is loaded."
            yield compare(name, None if there is None else observed, "held", meaning, DEPLOY)


def _addresses(plan: HostPlan, driver: DriverPlan) -> list[str]:
    return [gpu.address for gpu in plan.gpus if (gpu.vendor, gpu.use) == (driver.vendor, "compute")]


def _three(planned: list[str], bound: list[str], counted: list[str], name: str) -> str:
    return f"{len(planned)} planned, {len(bound)} bound to {name}, {len(counted)} counted by it"


def _on_disk(readings: Readings, driver: DriverPlan, loaded: str) -> Finding:
    subject = f"module {driver.module} on the disk"
    if reason := not_ours(readings):
        return skipped(subject, reason, loaded)
    found, running = read.modules(readings), readings.facts.readings.kernel_release
    if found is None or (running, driver.module) not in found:
        return unknown(subject, UNREAD, loaded)
    file = found[running, driver.module]
    observed = f"none for {running}" if file is None else file.version or "without a version"
    meaning = "The next boot, or the next program, meets another driver than the one that runs."
    return compare(subject, observed, loaded, meaning, REBOOT)


def _in_packages(readings: Readings, driver: DriverPlan, loaded: str) -> Finding:
    rows = catalog.load().nvidia
    versions = {
        package.name: _upstream(package.version)
        for package in readings.facts.found.packages
        if rows.is_driver_package(package.name, package.version) and package.name not in driver.first
    }
    if not versions:
        if driver.source == "unmanaged":
            return skipped("packages", "no package brought this driver", loaded)
        return compare(
            "packages", "none of the driver's is installed", loaded, "It has no user space.", DEPLOY
        )
    others = [f"{name} {version}" for name, version in versions.items() if version != loaded]
    meaning = "`Driver/library version mismatch`: programs that start now find no GPU."
    return compare("packages", ", ".join(others) or loaded, loaded, meaning, REBOOT)


def _of_nvidia_smi(readings: Readings, loaded: str) -> Finding:
    smi = read.smi(readings)
    if smi is None:
        action = "Run nvidia-smi by hand: where it hangs, a GPU does not answer."
        return unknown("nvidia-smi", "did not end, or could not be run", loaded, action)
    versions = sorted({version for version, _ in smi.gpus.values()})
    observed = ", ".join(versions) if smi.code == 0 and versions else f"exit {smi.code}: {smi.said}"
    return compare("nvidia-smi", observed, loaded, "Programs find no GPU, or not this driver.", REBOOT)


def _upstream(version: str) -> str:
    """A package's version without epoch and revision."""
    return version.rpartition(":")[2].partition("-")[0]
