"""What a probe would find after a plan was carried out, for the rule that the next plan is the same."""

from __future__ import annotations

from dataclasses import replace

from gpuwright import catalog
from gpuwright.facts import HostFacts
from gpuwright.facts.model import Driver, InstalledPackage
from gpuwright.plan import HostPlan
from gpuwright.plan.gpu_model import DriverPlan
from tests.synthetic import running, with_kernel

CATALOG = catalog.load()
# Packages that apt brings along with a driver of a source
BROUGHT = {
    ("debian", "distribution"): ("nvidia-alternative", "nvidia-legacy-check", "libnvidia-ml1", "nvidia-kernel-support"),
    ("debian", "nvidia"): ("libcuda1", "libnvidia-ml1", "nvidia-kernel-support", "nvidia-modprobe"),
    ("ubuntu", "distribution"): ("libnvidia-compute-{branch}-server", "nvidia-kernel-common-{branch}-server"),
    ("ubuntu", "nvidia"): ("nvidia-kernel-common", "nvidia-modprobe"),
}  # fmt: skip


def applied(facts: HostFacts, plan: HostPlan) -> HostFacts:
    """The host after the plan's deploy and a reboot into its kernel."""
    after = _kernel(facts, plan)
    for driver in plan.drivers:
        after = (
            _nvidia(after, driver, plan.fabric.packages) if driver.vendor == "nvidia" else _amd(after, driver)
        )
    after = _installed(after, {name: "1.20.0-1" for runtime in plan.runtimes for name in runtime.packages})
    firmware = {
        row.package: row.version.split()[0]
        for row in CATALOG.amd.firmware
        if _fits(row.os, row.suite, facts, plan)
    }
    return _installed(after, {name: firmware[name] for name in plan.firmware.packages})


def _fits(os: str, suite: str, facts: HostFacts, plan: HostPlan) -> bool:
    return (os, suite) == (f"{facts.os_id} {facts.os_version}", plan.firmware.suite)


def _kernel(facts: HostFacts, plan: HostPlan) -> HostFacts:
    kernel = plan.kernel
    if kernel.flavour == "built":
        config = {"DRM_AMDGPU": "m", "HSA_AMD": "y", **dict(word.split("=") for word in kernel.config)}
        after = _installed(facts, dict.fromkeys(kernel.packages, "6.12.117-1+p2p1"))
        return running(after, "6.12.117-p2p", config)
    if not kernel.packages:
        return facts
    arch = "arm64" if facts.arch == "aarch64" else "amd64"
    offered = CATALOG.kernels.offered(f"{facts.os_id} {facts.os_version}")
    (row,) = (row for row in offered if (row.packages(arch), row.suite) == (kernel.packages, kernel.suite))
    return with_kernel(facts, row)


def _nvidia(facts: HostFacts, driver: DriverPlan, fabric: tuple[str, ...]) -> HostFacts:
    if driver.delivery == "unmanaged":
        return facts
    there = next((d for d in facts.found.drivers if d.name == "nvidia"), None)
    os = f"{facts.os_id} {facts.os_version}"
    rows = [row for row in CATALOG.nvidia.sets(os, driver.source) if row.has(int(driver.branch))]
    branch = CATALOG.nvidia.branch(int(driver.branch))
    version = next((row.version for row in rows if row.version), branch.newest if branch else "")
    if there and there.version.startswith(f"{driver.branch}."):
        version = there.version
    tails = {
        "debian": "-1",
        "ubuntu": "-1ubuntu1" if driver.source == "nvidia" else f"-0ubuntu0.{facts.os_version}.1",
    }
    brought = (name.format(branch=driver.branch) for name in BROUGHT[facts.os_id, driver.source])
    found = {name: version + tails[facts.os_id] for name in (*driver.names, *fabric, *brought)}
    found |= {name: "6.8.0-52.53" for name in found if name.startswith("linux-modules-")}
    found |= {name: f"{driver.branch}-1" for name in found if "-pinning-" in name}
    return _driven(_installed(facts, found), Driver("nvidia", version, driver.modules, "package", True))


def _amd(facts: HostFacts, driver: DriverPlan) -> HostFacts:
    if driver.delivery == "unmanaged":
        return facts
    if driver.delivery == "in-tree":
        after = _driven(facts, Driver("amdgpu", "", "in-tree", "kernel", True))
        return _installed(after, dict.fromkeys(driver.packages, "10.0.0-1"))
    major, minor, *_ = driver.branch.split(".")
    version = f"1:7.1.3.{int(major):02}{int(minor):02}0000-2390945.24.04"
    after = _installed(facts, dict.fromkeys(driver.packages, version))
    return _driven(after, Driver("amdgpu", "7.1.3", "dkms", "package", True))


def _driven(facts: HostFacts, driver: Driver) -> HostFacts:
    """With this driver for its cards; nouveau and an older one of the same name are gone."""
    gone = {driver.name, "nouveau"} if driver.name == "nvidia" else {driver.name}
    others = tuple(other for other in facts.found.drivers if other.name not in gone)
    return replace(facts, found=replace(facts.found, drivers=(*others, driver)))


def _installed(facts: HostFacts, packages: dict[str, str]) -> HostFacts:
    kept = tuple(package for package in facts.found.packages if package.name not in packages)
    new = tuple(InstalledPackage(name, version) for name, version in packages.items())
    return replace(facts, found=replace(facts.found, packages=(*kept, *new)))
