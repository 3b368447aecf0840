"""Which kernel: what the GPUs need of one, and the first that has it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gpuwright.catalog import Catalog
from gpuwright.catalog.kernels import BuildRow, KernelRow
from gpuwright.catalog.version import at_least, numbers
from gpuwright.facts import HostFacts
from gpuwright.facts.model import Kernel
from gpuwright.plan.gpu_model import KernelPlan
from gpuwright.plan.model import Reason

PEER = "HSA_AMD_P2P"


@dataclass(frozen=True)
class Need:
    """What the GPUs ask of a kernel.

    `amdgpu`: the module and its compute half. `floors` are AMD cards by name that the kernel's own amdgpu is to
    drive, each with the first series that does; where AMD supports them with its own driver (`vendor_driver` allows
    it), or that driver is there, the kernel's need not know them. `p2p`: AMD cards are to reach each other over PCIe.
    """

    amdgpu: bool
    floors: tuple[tuple[str, str], ...]
    vendor_driver: bool
    p2p: bool


@dataclass(frozen=True)
class Choice:
    """A kernel. `p2p` is whether AMD cards can reach each other over PCIe on it, None where nobody knows.

    `running` is whether the host runs it now; None where that could not be read.
    """

    flavour: str
    suite: str
    packages: tuple[str, ...]
    config: tuple[str, ...]
    p2p: bool | None
    intel_iommu: bool
    running: bool | None
    why: Reason


def running(facts: HostFacts) -> Kernel | None:
    """The kernel that runs; None where it could not be read."""
    return next((kernel for kernel in facts.found.kernels if kernel.running), None)


def kept(facts: HostFacts, catalog: Catalog, why: Reason) -> Choice:
    """The kernel that is there, whatever it is."""
    now = running(facts)
    row = catalog.kernels.running(facts.release, now.release) if now else None
    options: dict[str, str] = {**row.options} if row else dict(now.config) if now else {}
    intel = options.get("INTEL_IOMMU_DEFAULT_ON") == "y"
    return Choice("keep", "", (), (), _known(options), intel, True, why)


def of_row(row: KernelRow, facts: HostFacts, why: Reason) -> Choice:
    """A kernel of the distribution."""
    now = running(facts)
    return Choice(
        flavour=row.flavour,
        suite=row.suite,
        packages=row.packages(facts.debian_arch),
        config=(),
        p2p=_known({**row.options}),
        intel_iommu=row.options.get("INTEL_IOMMU_DEFAULT_ON") == "y",
        running=row.is_release(now.release) if now else None,
        why=why,
    )


def of_build(row: BuildRow, facts: HostFacts, catalog: Catalog) -> Choice:
    """A kernel built from the distribution's source with what P2P needs; it comes from a repository of its own."""
    symbols = catalog.kernels.peer_symbols(row.series)
    now = running(facts)
    has = dict(now.config) if now else {}
    return Choice(
        flavour="built",
        suite="",
        packages=(row.image,),
        config=tuple(f"{symbol}=y" for symbol in symbols.symbols),
        p2p=True,
        intel_iommu=False,
        running=all(has.get(symbol) == "y" for symbol in symbols.symbols) if now else None,
        why=Reason(
            "declared: no package has these options",
            f"setting kernel_flavour; {symbols.source}; {row.source}",
        ),
    )


def peers_over_pcie(facts: HostFacts, catalog: Catalog, plan: KernelPlan) -> bool | None:
    """Whether AMD cards can reach each other over PCIe on the planned kernel; None where nobody knows."""
    if plan.flavour == "built":
        return True
    if plan.flavour == "keep":
        return kept(facts, catalog, Reason("", "")).p2p
    row = planned_row(facts, catalog, plan)
    return _known({**row.options}) if row else None


def planned_row(facts: HostFacts, catalog: Catalog, plan: KernelPlan) -> KernelRow | None:
    """The catalogue's row of a planned kernel; None for one that is kept or built."""
    wanted = (plan.suite, plan.packages)
    offered = catalog.kernels.offered(facts.release)
    return next((row for row in offered if (row.suite, row.packages(facts.debian_arch)) == wanted), None)


def unmet(row: KernelRow, facts: HostFacts, catalog: Catalog, need: Need) -> tuple[tuple[str, str], ...]:
    """(observed, required) for each thing that this kernel lacks."""
    name = f"{row.os}'s {row.flavour} kernel {row.version}"
    return _lacks({**row.options}, row.version, name, _of_its_own(row, facts, catalog, need))


def unmet_by_kept(facts: HostFacts, catalog: Catalog, need: Need) -> tuple[tuple[str, str], ...]:
    """The same for the kernel that runs."""
    now = running(facts)
    if now is None:
        return (("which kernel runs could not be read", f"{PEER}=y"),) if need.p2p else ()
    row = catalog.kernels.running(facts.release, now.release)
    options: dict[str, str] = {**row.options} if row else dict(now.config)
    if not options:
        return ((f"the configuration of {now.release} could not be read", f"{PEER}=y"),) if need.p2p else ()
    return _lacks(options, now.release, f"kernel {now.release}", _of_its_own(row, facts, catalog, need))


def adopted(facts: HostFacts, catalog: Catalog, need: Need) -> KernelRow | None:
    """The newest of the kernels that are installed or run, and have what is needed.

    The order makes the choice a fixed point: what a deploy adds is the row that this chose, and the kernel that runs
    after it is that one too.
    """
    arch = facts.debian_arch
    now = running(facts)
    found = []
    for index, row in enumerate(catalog.kernels.offered(facts.release)):
        installed = any(row.is_installed_as(p.name, p.version, arch) for p in facts.found.packages)
        runs = now is not None and catalog.kernels.running(facts.release, now.release) == row
        if (installed or runs) and not unmet(row, facts, catalog, need):
            found.append(((numbers(row.series), installed, -index), row))
    return max(found, key=lambda item: item[0])[1] if found else None


def first_fit(facts: HostFacts, catalog: Catalog, need: Need) -> KernelRow | None:
    """The first that the release offers with what is needed."""
    return next(
        (row for row in catalog.kernels.offered(facts.release) if not unmet(row, facts, catalog, need)), None
    )


def build_for(facts: HostFacts, catalog: Catalog, need: Need) -> BuildRow | None:
    """The first source of the release that is new enough."""
    rows = (row for row in catalog.kernels.builds if row.os == facts.release)
    return next((row for row in rows if all(at_least(row.series, floor) for _, floor in need.floors)), None)


def planned_build(os: str, catalog: Catalog, plan: KernelPlan) -> BuildRow | None:
    """The catalogue's source of a kernel that is built; None for any other."""
    if plan.flavour != "built":
        return None
    return next(
        (row for row in catalog.kernels.builds if (row.os, (row.image,)) == (os, plan.packages)), None
    )


def built_version(catalog: Catalog, os: str, plan: KernelPlan) -> str:
    """The version of a kernel that is built: that of the release's own kernel from the same source; "" if unknown."""
    row = planned_build(os, catalog, plan)
    if row is None:
        return ""
    of_source = (
        k.version for k in catalog.kernels.offered(os) if (k.suite, k.series) == (row.suite, row.series)
    )
    return next(of_source, row.series)


def _of_its_own(row: KernelRow | None, facts: HostFacts, catalog: Catalog, need: Need) -> Need:
    """What a kernel has to bring itself, where AMD's own driver may serve the cards on it; None: a foreign kernel."""
    now = running(facts)
    runs = now is not None and catalog.kernels.running(facts.release, now.release) == row
    there = any(driver.name == "amdgpu" and driver.modules == "dkms" for driver in facts.found.drivers)
    support = catalog.amd.supported(facts.release, (name for name, _ in need.floors))
    series = row.series if row else ""
    served = (there and runs) or (support is not None and support.kernel == series)
    return replace(need, floors=()) if need.vendor_driver and served else need


def _known(options: dict[str, str]) -> bool | None:
    return {"y": True, "n": False}.get(options.get(PEER, "unknown"))


def _lacks(options: dict[str, str], version: str, name: str, need: Need) -> tuple[tuple[str, str], ...]:
    lacks = []
    if need.amdgpu and (options.get("DRM_AMDGPU") not in ("m", "y") or options.get("HSA_AMD", "y") == "n"):
        lacks.append((f"{name} has no amdgpu, or none that computes", "DRM_AMDGPU and HSA_AMD"))
    for card, floor in need.floors:
        if not at_least(version, floor):
            lacks.append((f"{name} does not know the {card}", f"Linux {floor} or newer"))
    if need.p2p and options.get(PEER) != "y":
        lacks.append((f"{name} is built without {PEER}", f"{PEER}=y, for P2P over PCIe between AMD cards"))
    return tuple(lacks)
