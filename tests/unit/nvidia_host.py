"""What tests of NVIDIA's planners share: hosts, drivers that are there, and what is planned for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gpuwright import catalog
from gpuwright.catalog import Catalog
from gpuwright.errors import Refusal
from gpuwright.facts import NVIDIA, HostFacts, PciDevice
from gpuwright.facts.model import Driver, InstalledPackage, Leftover
from gpuwright.plan.fabric import plan_fabric
from gpuwright.plan.gpu_model import DriverPlan, FabricPlan, HoldsPlan
from gpuwright.plan.gpus import plan_gpus
from gpuwright.plan.holds import plan_holds
from gpuwright.plan.kernel import plan_kernel
from gpuwright.plan.notes import Notes
from gpuwright.plan.nvidia import plan_nvidia
from gpuwright.settings import read_settings

CATALOG = catalog.load()
P40, V100, B200 = "Tesla P40", "Tesla V100 SXM2 32GB", "B200"
RTX3090, RTX4090, RTX5090 = "GeForce RTX 3090", "GeForce RTX 4090", "GeForce RTX 5090"
RELEASES = ["debian 12", "debian 13", "ubuntu 22.04", "ubuntu 24.04", "ubuntu 26.04"]
SIGNED = (
    "linux-modules-nvidia-580-server-open-generic",
    "nvidia-headless-no-dkms-580-server-open",
    "nvidia-utils-580-server",
    "nvidia-compute-utils-580-server",
)


@dataclass(frozen=True)
class Planned:
    driver: DriverPlan | None
    fabric: FabricPlan
    holds: HoldsPlan
    refusals: list[Refusal]
    notes: Notes


def planned(facts: HostFacts, rows: Catalog = CATALOG, **settings: object) -> Planned:
    notes = Notes()
    read = read_settings(settings)
    gpus = plan_gpus(facts, read, rows, notes)
    kernel = plan_kernel(facts, read, rows, gpus, notes)
    driver = plan_nvidia(facts, read, rows, gpus, kernel, "drivers.0", notes)
    drivers = (driver,) if driver else ()
    fabric = plan_fabric(facts, read, rows, gpus, drivers, notes)
    return Planned(
        driver, fabric, plan_holds(rows, kernel, drivers, fabric, (), notes), notes.refusals, notes
    )


def driver_of(facts: HostFacts, rows: Catalog = CATALOG, **settings: object) -> DriverPlan:
    plan = planned(facts, rows, **settings)
    assert not plan.refusals, plan.refusals
    assert plan.driver
    return plan.driver


def refused(facts: HostFacts, **settings: object) -> Refusal:
    plan = planned(facts, **settings)
    assert plan.driver is None or plan.refusals
    (refusal,) = plan.refusals
    return refusal


def with_found(
    facts: HostFacts,
    driver: Driver | None = None,
    packages: Sequence[tuple[str, str]] = (),
    leftovers: tuple[Leftover, ...] = (),
) -> HostFacts:
    found = facts.found
    more = tuple(InstalledPackage(*package) for package in packages)
    drivers = (driver,) if driver else ()
    return replace(
        facts, found=replace(found, drivers=drivers, packages=(*found.packages, *more), leftovers=leftovers)
    )


def loaded(version: str, modules: str = "open", origin: str = "package") -> Driver:
    return Driver("nvidia", version, modules, origin, loaded=True)


def deployed(facts: HostFacts, plan: DriverPlan) -> HostFacts:
    """The host after a deploy of this plan and a reboot, as the probe would find it."""
    row = CATALOG.nvidia.branch(int(plan.branch))
    assert row
    tails = {("ubuntu", "distribution"): "-0ubuntu0.24.04.1", ("ubuntu", "nvidia"): "-1ubuntu1"}
    version = "550.163.01" if plan.branch == "550" else row.newest
    tail = tails.get((facts.os_id, plan.source), "-1")
    pulled = ["nvidia-persistenced", "libcuda1", "nvidia-container-toolkit"]
    names = [*plan.names, *(name for name in pulled if name not in plan.names)]
    versions = {"nvidia-container-toolkit": "1.20.0-1", "nvidia-driver-pinning-580": "580-1"}
    others = tuple(p for p in facts.found.packages if not CATALOG.nvidia.is_driver_package(p.name, p.version))
    bare = replace(facts, found=replace(facts.found, packages=others))
    return with_found(
        bare,
        loaded(version, plan.modules),
        [(name, versions.get(name, version + tail)) for name in names],
    )


def switched(facts: HostFacts, passthrough: bool = False) -> HostFacts:
    switch = PciDevice("0000:f0:00.0", "068000", NVIDIA, "22a3", passthrough=passthrough)
    return replace(facts, pci=(*facts.pci, switch))
