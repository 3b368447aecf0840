"""Which amdgpu: the kernel's own, AMD's amdgpu-dkms, or the one that somebody else put there."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gpuwright.catalog import Catalog
from gpuwright.catalog.amd import DkmsRow, RocmRow
from gpuwright.catalog.version import numbers
from gpuwright.facts import HostFacts
from gpuwright.facts.model import Driver, InstalledPackage
from gpuwright.plan.amd.kernel import KernelVersion, has_headers, version_of
from gpuwright.plan.amd.rocm import gpu_name
from gpuwright.plan.firmware import firmware_for
from gpuwright.plan.gpu_model import Gpu, KernelPlan
from gpuwright.plan.model import Reason
from gpuwright.plan.notes import Notes
from gpuwright.settings import HostSettings

SETTING = "setting rocm_driver"


@dataclass(frozen=True)
class DriverChoice:
    """A driver. `delivery` is in-tree, dkms or unmanaged; `row` the release of dkms, None for one without a row."""

    delivery: str
    branch: str
    row: DkmsRow | None
    why: Reason


def choose_driver(
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    gpus: tuple[Gpu, ...],
    kernel: KernelPlan,
    rocm: RocmRow | None,
    notes: Notes,
) -> DriverChoice | None:
    """The driver for `gpus`, AMD's that compute; `rocm` is the release that it must go with, None for any.

    What is installed and fits stays; a dkms release that does not fit gives way to one that does. None after a
    refusal.
    """
    version = version_of(facts, catalog, kernel)
    asked = _Asked(facts, settings, catalog, gpus, version, has_headers(facts, kernel), rocm, notes)
    if facts.in_container:
        why = Reason("a container: the driver is that of the machine around it", "systemd-detect-virt(1)")
        return DriverChoice("unmanaged", "", None, why)
    package = _package(facts, catalog, main=True)
    if package:
        return asked.with_dkms_there(package)
    foreign = _foreign(facts)
    if foreign:
        return asked.with_foreign(foreign)
    if settings.rocm.rocm_driver == "dkms":
        return asked.dkms(Reason('rocm_driver = "dkms"', SETTING))
    return asked.without_dkms()


@dataclass(frozen=True)
class _Asked:
    """The question, with all that an answer rests on."""

    facts: HostFacts
    settings: HostSettings
    catalog: Catalog
    gpus: tuple[Gpu, ...]
    kernel: KernelVersion | None
    headers: bool
    rocm: RocmRow | None
    notes: Notes

    @property
    def os(self) -> str:
        return f"{self.facts.os_id} {self.facts.os_version}"

    @property
    def linux(self) -> str:
        return f"Linux {self.kernel.text}" if self.kernel else "a Linux that could not be read"

    def with_dkms_there(self, package: InstalledPackage) -> DriverChoice | None:
        """amdgpu-dkms is installed: adopted where it fits, replaced by a release that does, or refused."""
        if self.settings.rocm.rocm_driver == "in-tree":
            return self._purge(package, '"in-tree" is declared', SETTING)
        ryzen = self._ryzen()
        if ryzen:
            return self._purge(package, f"{ryzen.name} needs the kernel's own driver", gpu_name(ryzen))
        branch = _branch(package.version)
        row = next((row for row in self.catalog.amd.dkms if f"{branch}.".startswith(f"{row.version}.")), None)
        if row is None:
            return self._unknown(package, branch)
        wrong = self._will_not_build(row) or ("" if self._pairs(row) else self._unpaired())
        if wrong:
            return self.dkms(Reason(f"instead of {package.name} {branch}, which {wrong}", row.source))
        return DriverChoice(
            "dkms", row.version, row, Reason(f"{package.name} {branch} is installed and fits", row.source)
        )

    def _unknown(self, package: InstalledPackage, branch: str) -> DriverChoice | None:
        """A release without a row: kept as it is, unless it would have to go with a ROCm."""
        if self.rocm is None:
            why = Reason(
                f"{package.name} {branch} is installed", "dpkg; the catalogue does not know this release"
            )
            return DriverChoice("dkms", branch, None, why)
        return self._refuse(
            package.name,
            f"{branch} is installed, which the catalogue does not know, and ROCm {self.rocm.version} is wanted",
            f"a release that AMD pairs with it: {', '.join(self.rocm.drivers)}",
            'Install one of them, or set rocm_packages = "none" and rocm_version = "auto".',
        )

    def with_foreign(self, driver: Driver) -> DriverChoice | None:
        """An out-of-tree module that no package owns."""
        declared = self.settings.rocm.rocm_driver
        if declared != "auto":
            return self._refuse(
                SETTING,
                f'"{declared}" is declared, and an amdgpu {driver.version} that no package owns is there',
                "one amdgpu on a host",
                "Remove it with what installed it (the runfile installer: uninstall), or set rocm_driver to auto.",
            )
        why = Reason("an amdgpu that no package owns is there: kept as it is", "found.drivers")
        return DriverChoice("unmanaged", "", None, why)

    def without_dkms(self) -> DriverChoice | None:
        """Nothing of AMD's is there: its driver where it supports these cards with it, else the kernel's."""
        auto = self.settings.rocm.rocm_driver == "auto"
        support = self.catalog.amd.supported(self.os, (gpu.name for gpu in self.gpus))
        # Where the firmware checks signatures, a module built here waits for somebody at the console: only on demand.
        signed = self.facts.boot.secure_boot != "enabled"
        fitting = self._fitting() if auto and signed and not self._obstacle() else None
        if support and fitting and self.kernel and numbers(self.kernel.text)[:2] == numbers(support.kernel):
            reason = f"AMD supports these cards on {self.os} with Linux {support.kernel} and its own driver"
            return self._new(fitting, Reason(reason, f"{support.source}; {fitting.source}"))
        floor = self.catalog.amd.kernel_floor(gpu.target for gpu in self.gpus)
        old = self.kernel is not None and self.kernel.before(floor)
        bare = firmware_for(self.facts, self.catalog, tuple({gpu.target for gpu in self.gpus})) is None
        if (old or bare) and fitting:
            lack = (
                f"{self.linux} is older than {floor}" if old else f"{self.os} has no firmware for these cards"
            )
            return self._new(fitting, Reason(lack, fitting.source))
        if old:
            return self._too_old(floor)
        shadow = _package(self.facts, self.catalog, main=False)
        if shadow:
            return self._purge(shadow, "its firmware goes before the distribution's", shadow.name)
        reason = "the kernel's own driver knows every card" if auto else 'rocm_driver = "in-tree"'
        targets = (self.catalog.amd.target(gpu.target) for gpu in self.gpus)
        sources = dict.fromkeys(target.source for target in targets)
        return DriverChoice("in-tree", "", None, Reason(reason, "; ".join(sources)))

    def dkms(self, why: Reason) -> DriverChoice | None:
        """The newest release of amdgpu-dkms that builds and goes with ROCm; a refusal where none does."""
        obstacle = self._obstacle()
        if obstacle:
            subject, observed, required = obstacle
            return self._refuse(subject, observed, required, 'Set rocm_driver = "in-tree".')
        row = self._fitting()
        if row:
            return self._new(row, Reason(why.reason, f"{why.source}; {row.source}"))
        offered = [row for row in self.catalog.amd.dkms if self.os in row.suites]
        reasons = [f"{row.version} {self._will_not_build(row) or self._unpaired()}" for row in offered]
        return self._refuse(
            SETTING,
            f"no release of amdgpu-dkms fits {self.os}: {'; '.join(reasons) or 'none is published for it'}",
            "a release that builds for the kernel and goes with ROCm",
            'Set rocm_driver = "in-tree", or rocm_version = "auto".',
        )

    def _new(self, row: DkmsRow, why: Reason) -> DriverChoice | None:
        """A release that is not there yet: AMD's installer, whose own repository goes first, must be gone."""
        if any(leftover.kind == "amdgpu-install" for leftover in self.facts.found.leftovers):
            if any(refusal.subject == "amdgpu-install" for refusal in self.notes.refusals):
                return None
            return self._refuse(
                "amdgpu-install",
                f"it brings a repository and a pin of its own, and amdgpu-dkms {row.version} is wanted",
                "one source of AMD's driver",
                'Purge it (apt-get purge amdgpu-install), or set rocm_driver = "in-tree".',
            )
        return DriverChoice("dkms", row.version, row, why)

    def _fitting(self) -> DkmsRow | None:
        rows = (row for row in self.catalog.amd.dkms if self.os in row.suites)
        return next((row for row in rows if self._pairs(row) and not self._will_not_build(row)), None)

    def _obstacle(self) -> tuple[str, str, str] | None:
        """(subject, observed, required) of what rules out AMD's own driver, whatever its release."""
        ryzen = self._ryzen()
        if ryzen:
            target = self.catalog.amd.target(ryzen.target)
            return (
                gpu_name(ryzen),
                "amdgpu-dkms is declared",
                f"the kernel's own driver ({target.source})",
            )
        if self.facts.arch != "x86_64":
            return SETTING, f'"dkms" on {self.facts.arch}', "x86_64, for which alone AMD builds its driver"
        if not self.headers:
            return (
                "kernel",
                f"{self.linux} is kept, and its headers are not there",
                "headers, against which amdgpu-dkms builds",
            )
        return None

    def _will_not_build(self, row: DkmsRow) -> str:
        """Why this release does not build for the kernel; "" where it does, or where nobody knows."""
        if self.kernel is None:
            return ""
        now = numbers(self.kernel.text)[:2]
        if not numbers(row.kernel_first) <= now <= numbers(row.kernel_last):
            return f"builds for Linux {row.kernel_first} to {row.kernel_last}, not for {self.kernel.text}"
        if row.three_arguments and self.catalog.amd.has_four_arguments(self.kernel.text):
            return f"calls pci_resize_resource with three arguments, Linux {self.kernel.text} has four"
        return ""

    def _pairs(self, row: DkmsRow) -> bool:
        return self.rocm is None or row.version in self.rocm.drivers

    def _unpaired(self) -> str:
        return f"is not paired with ROCm {self.rocm.version}" if self.rocm else "does not fit"

    def _ryzen(self) -> Gpu | None:
        of_family = (gpu for gpu in self.gpus if self.catalog.amd.target(gpu.target).family == "ryzen")
        return next(of_family, None)

    def _too_old(self, floor: str) -> DriverChoice | None:
        """Where the kernel's planner has not refused it already."""
        newest = max(self.gpus, key=lambda gpu: numbers(self.catalog.amd.target(gpu.target).kernel))
        if any(refusal.subject == "kernel" for refusal in self.notes.refusals):
            return None
        return self._refuse(
            gpu_name(newest),
            f"the kernel is {self.linux}",
            f"Linux {floor} or newer, whose own amdgpu knows it",
            'Set rocm_driver = "in-tree" and kernel_flavour = "auto", for which a newer kernel is looked for.',
        )

    def _purge(self, package: InstalledPackage, why: str, subject: str) -> DriverChoice | None:
        names = " ".join(self.catalog.amd.dkms[0].packages)
        return self._refuse(
            subject,
            f"{package.name} {package.version} is installed, and {why}",
            "the kernel's own amdgpu and firmware",
            f"Remove AMD's (apt-get purge {names}), and reboot.",
        )

    def _refuse(self, subject: str, observed: str, required: str, remedy: str) -> DriverChoice | None:
        self.notes.refuse(subject, observed, required, remedy)
        return None


def _package(facts: HostFacts, catalog: Catalog, main: bool) -> InstalledPackage | None:
    """An installed package of AMD's driver: the first name of a release is the module, others come along."""
    names = {name for row in catalog.amd.dkms for name in (row.packages[:1] if main else row.packages[1:])}
    return next((package for package in facts.found.packages if package.name in names), None)


def _foreign(facts: HostFacts) -> Driver | None:
    drivers = (driver for driver in facts.found.drivers if driver.name == "amdgpu")
    return next((driver for driver in drivers if driver.modules == "dkms"), None)


def _branch(version: str) -> str:
    """The release in a version of amdgpu-dkms, whose last number holds it in pairs of digits; before 30.x all of it.

    >>> _branch("1:6.16.13.30300400-2341068.24.04"), _branch("1:7.1.3.31500000-2390945.24.04")
    ('30.30.4', '31.50')
    """
    number = re.search(r"\.(\d{2})(\d{2})(\d{2})\d{2}-", version)
    if number is None:
        return version.split(":")[-1].split("-")[0]
    major, minor, point = (int(part) for part in number.groups())
    return f"{major}.{minor}.{point}" if point else f"{major}.{minor}"
