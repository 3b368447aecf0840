"""An AMD host in memory: facts, cards, the kernel that is planned, and what both planners answer."""

from __future__ import annotations

from dataclasses import replace

from gpuwright import catalog
from gpuwright.catalog import Catalog
from gpuwright.errors import Refusal
from gpuwright.facts import HostFacts
from gpuwright.facts.model import SCHEMA, Boot, Driver, Found, InstalledPackage, Leftover, Machine, Readings
from gpuwright.plan.amd import plan_amd
from gpuwright.plan.firmware import plan_firmware
from gpuwright.plan.gpu_model import DriverPlan, FirmwarePlan, Gpu, KernelPlan
from gpuwright.plan.gpus import GIB
from gpuwright.plan.notes import Notes
from gpuwright.settings import read_settings

ROWS = catalog.load()
CODENAMES = {f"{row.id} {row.version}": row.codename for row in ROWS.releases}
Answer = tuple[DriverPlan, FirmwarePlan] | tuple[Refusal, ...]


def host(os: str = "debian 13", found: Found | None = None, secure_boot: str = "disabled") -> HostFacts:
    name, version = os.split()
    return HostFacts(
        schema=SCHEMA,
        os_id=name,
        os_version=version,
        os_codename=CODENAMES[os],
        os_name=os.capitalize(),
        arch="x86_64",
        memory_bytes=64 * GIB,
        cpus=16,
        cpu_vendor="AuthenticAMD",
        cpu_family=25,
        machine=Machine(),
        pci=(),
        nics=(),
        disks=(),
        virtualisation="none",
        init="systemd",
        boot=Boot("uefi", "grub", secure_boot, "plain"),
        found=found or Found(),
        readings=Readings(),
    )


def card(name: str, use: str = "compute", address: str = "0000:03:00.0", rows: Catalog = ROWS) -> Gpu:
    row = next(row for row in rows.gpus.rows if row.vendor == "1002" and row.name == name)
    return Gpu(address, row.name, "amd", row.arch, row.target, int(row.memory_gb * GIB), use)


def kernel(os: str, flavour: str = "ga", rows: Catalog = ROWS) -> KernelPlan:
    row = next((row for row in rows.kernels.offered(os) if row.flavour == flavour), None)
    return KernelPlan(flavour, row.suite if row else "", row.packages("amd64") if row else (), (), (), "none")


def answer(
    facts: HostFacts,
    *gpus: Gpu,
    flavour: str = "ga",
    rows: Catalog = ROWS,
    **settings: str,
) -> Answer:
    """What both planners say; a reason is there for every leaf, or at least one refusal."""
    notes, declared = Notes(), read_settings(settings)
    boots = kernel(f"{facts.os_id} {facts.os_version}", flavour, rows)
    driver = plan_amd(facts, declared, rows, gpus, boots, "drivers.0", notes)
    if driver is None:
        assert notes.refusals
        return tuple(notes.refusals)
    firmware = plan_firmware(facts, declared, rows, gpus, (driver,), boots, notes)
    if notes.refusals:
        return tuple(notes.refusals)
    notes.explain(("drivers.0.branch", "drivers.0.packages.0", "firmware.suite"))
    return driver, firmware


def driver_of(*args: object, **settings: str) -> DriverPlan:
    got = answer(*args, **settings)  # type: ignore[arg-type]
    assert isinstance(got[0], DriverPlan), got
    return got[0]


def refusals_of(*args: object, **settings: str) -> tuple[Refusal, ...]:
    got = answer(*args, **settings)  # type: ignore[arg-type]
    assert isinstance(got[0], Refusal), got
    return tuple(refusal for refusal in got if isinstance(refusal, Refusal))


def dkms(version: str, driver: bool = True) -> Found:
    """amdgpu-dkms of a version, as dpkg and the module tell it."""
    return Found(
        drivers=(Driver("amdgpu", version.split(":")[-1], "dkms", "package", True),) if driver else (),
        packages=(
            InstalledPackage("amdgpu-dkms", version),
            InstalledPackage("amdgpu-dkms-firmware", version),
        ),
    )


def after(facts: HostFacts, driver: DriverPlan, firmware: FirmwarePlan) -> HostFacts:
    """The host as the next probe would find it: the plan's packages, its module, its directories."""
    packages = [InstalledPackage(name, "20260916-1") for name in firmware.packages]
    leftovers = []
    for name in driver.packages:
        if name.startswith("amdgpu-dkms"):
            digits = "".join(f"{int(part):02}" for part in driver.branch.split("."))
            packages.append(InstalledPackage(name, f"1:9.9.9.{digits:0<8}-2390945.24.04"))
        elif not name.startswith("amdrocm"):
            version = driver.repositories[-1].uri.rsplit("/", 1)[1]
            packages += [InstalledPackage(n, f"{version}.0.70000-1~24.04") for n in (name, "rocm-core")]
            leftovers.append(Leftover("rocm-legacy", f"/opt/rocm-{version}.0"))
        else:
            packages.append(InstalledPackage(name, "1.0-1"))
    is_dkms = driver.delivery == "dkms"
    loaded = Driver(
        "amdgpu",
        "9.9.9" if is_dkms else "",
        "dkms" if is_dkms else "in-tree",
        "package" if is_dkms else "kernel",
        True,
    )
    return replace(
        facts,
        found=replace(
            facts.found,
            drivers=(*(d for d in facts.found.drivers if d.name != "amdgpu"), loaded),
            packages=tuple(packages)
            + tuple(p for p in facts.found.packages if p.name not in driver.packages + firmware.packages),
            leftovers=(*facts.found.leftovers, *leftovers),
        ),
    )
