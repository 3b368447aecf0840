"""Checks of kernels: the one that runs is the planned one, and those that could boot next have the driver."""

from __future__ import annotations

from collections.abc import Iterator

from gpuwright.operations.dkms import INSTALLED
from gpuwright.plan import HostPlan
from gpuwright.plan.gpu_model import DriverPlan
from gpuwright.verify import driver_readings as read
from gpuwright.verify.check import DEPLOY, UNREAD, Finding, check, compare, skipped, unknown
from gpuwright.verify.readings import Readings

RUNNING = "the kernel that runs"
OPTIONS = "options of the kernel that runs"


def not_ours(readings: Readings) -> str:
    """Why nothing can be said of the kernel's files on this host; "" where they are its own."""
    if readings.facts.in_container:
        return "the kernel is that of the machine around this container"
    if any(driver.origin == "outside" for driver in readings.facts.found.drivers):
        return "the kernel came from outside the host, with no file of it here"
    return ""


@check("kernel.running", severity="major", source="uname(1), dpkg: Depends of the kernel's metapackage")
def running(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Does the host run the newest kernel that the planned package brings?"""
    if plan.kernel.flavour == "keep":
        yield skipped(RUNNING, "kept, whichever it is")
        return
    if reason := not_ours(readings):
        yield skipped(RUNNING, reason)
        return
    now = readings.facts.readings.kernel_release
    action = "Reboot the host when its services may stop; a deploy with maintenance=true does it in order."
    if plan.kernel.flavour == "built":
        kernel = next((kernel for kernel in readings.facts.found.kernels if kernel.running), None)
        has = {f"{symbol}={value}" for symbol, value in kernel.config} if kernel else set()
        expected = f"a kernel with {', '.join(plan.kernel.config)}"
        lacking = [option for option in plan.kernel.config if option not in has]
        observed = f"{now} without {', '.join(lacking)}" if lacking else expected
        meaning = "What the kernel was built for does not work."
        yield compare(OPTIONS, observed if has else None, expected, meaning, action)
    brought = read.kernels_of(readings)
    expected = f"of {', '.join(plan.kernel.packages)}"
    if brought is None:
        yield unknown(RUNNING, UNREAD, expected)
        return
    good = now in brought
    observed = now if good else f"{now}; the packages bring {', '.join(sorted(brought)) or 'none'}"
    meaning = "Drivers are built for another kernel, or security fixes wait for a reboot."
    yield compare(RUNNING, observed, expected, meaning, action, good=good)


@check("kernel.arguments", severity="major", source="/proc/cmdline")
def arguments(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Was the running kernel started with every planned argument?"""
    words = readings.facts.readings.cmdline.split()
    for argument in plan.kernel.arguments:
        observed = "there" if argument in words else "absent"
        meaning = "The kernel runs without what the GPUs' peer access or the cards need."
        action = f"{DEPLOY} It holds from the next boot on."
        yield compare(argument, observed if words else None, "there", meaning, action)


@check("kernel.modules", severity="critical", source="modinfo(8) for each kernel that could boot next")
def modules(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Has every kernel that could boot next a module of the planned driver?"""
    found = read.modules(readings)
    for driver, release, subject in _boots(readings, plan):
        if isinstance(release, Finding):
            yield release
            continue
        file = (found or {}).get((release, driver.module))
        expected = "dkms's module" if driver.delivery == "dkms" else "a module"
        observed = None if found is None or (release, driver.module) not in found else "none"
        if file is not None:
            foreign = driver.delivery == "dkms" and INSTALLED not in file.path
            observed = f"another module ({file.path})" if foreign else expected
        meaning = f"A boot into {release} comes up without GPUs."
        action = f"`dkms status`, then `dkms autoinstall -k {release}`; or remove that kernel. {DEPLOY}"
        yield compare(subject, observed, expected, meaning, action)


@check(
    "kernel.signed", severity="critical", source="modinfo(8): signer; /proc/keys; dkms(8): mok_certificate"
)
def signed(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Where Secure Boot is on: is the module signed by a key that the kernel knows?"""
    secure_boot = readings.facts.boot.secure_boot
    if not plan.drivers or secure_boot in ("disabled", "unsupported"):
        yield skipped("modules", f"Secure Boot is {secure_boot}" if plan.drivers else "no driver is planned")
        return
    found, keys = read.modules(readings), readings.names("signing_keys")
    for driver, release, subject in _boots(readings, plan):
        if isinstance(release, Finding):
            yield release
            continue
        file = (found or {}).get((release, driver.module))
        expected = "signed by a key that is enrolled"
        if secure_boot != "enabled" or file is None or not keys:
            yield unknown(
                subject,
                UNREAD if secure_boot == "enabled" else "nobody knows whether Secure Boot is on",
                expected,
            )
            continue
        # Another kernel brings its own keys for its own modules; what is enrolled in the firmware is there for all.
        own = driver.delivery != "dkms" and release != readings.facts.readings.kernel_release
        known = own or any(key.startswith(f"{file.signer}:") for key in keys)
        observed = f"signed by {file.signer}" if file.signer else "not signed"
        meaning = "The kernel rejects the module (Key was rejected by service), and no GPU works."
        action = (
            "Run the deploy: it has dkms's key staged (mokutil --import) and says what to do at the console."
        )
        yield compare(subject, observed, expected, meaning, action, good=bool(file.signer) and known)


@check("kernel.headers", severity="major", source="dkms(8): needs /lib/modules/KERNEL/build")
def headers(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Has every kernel that could boot next its headers, where modules are built on the host?"""
    there = {kernel.release for kernel in readings.facts.found.kernels if kernel.headers}
    for driver, release, subject in _boots(readings, plan):
        if driver.delivery != "dkms":
            continue
        if isinstance(release, Finding):
            yield release
            continue
        meaning = "The next version of the driver is not built for this kernel."
        action = (
            f"Install linux-headers-{release}; the planned metapackage keeps later ones in step. {DEPLOY}"
        )
        yield compare(subject, "there" if release in there else "absent", "there", meaning, action)


@check("kernel.initramfs", severity="major", source="update-initramfs(8): takes /etc/modprobe.d along")
def initramfs(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Was the initramfs of every kernel that could boot next made after modprobe's configuration was changed?"""
    made, changed = read.boots(readings), read.option_files(readings)
    expected = "made after modprobe's planned files"
    for _, release, subject in _boots(readings, plan):
        if isinstance(release, Finding):
            yield release
            continue
        if made is None or changed is None or release not in made:
            yield unknown(
                subject, UNREAD if made is None or changed is None else "no image below /boot", expected
            )
            continue
        time = made[release]
        late = [path for path, ns in changed.items() if time is not None and ns > time]
        observed = "absent" if time is None else f"older than {', '.join(late)}" if late else expected
        meaning = "An early boot takes the cards by the old rules, or does not find its root file system."
        yield compare(subject, observed, expected, meaning, f"update-initramfs -u -k {release}. {DEPLOY}")


def _boots(readings: Readings, plan: HostPlan) -> Iterator[tuple[DriverPlan, str | Finding, str]]:
    """Each planned driver with each kernel that could boot next; a finding in its place where nobody can tell."""
    releases = read.next_kernels(readings)
    for driver in plan.drivers:
        if reason := not_ours(readings):
            yield driver, skipped(driver.module, reason), driver.module
        elif releases is None:
            yield driver, unknown(driver.module, UNREAD, "the kernels that could boot next"), driver.module
        else:
            for release in releases:
                yield driver, release, f"{driver.module} for {release}"
