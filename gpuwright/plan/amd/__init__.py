"""Slice `drivers`: AMD."""

from __future__ import annotations

from gpuwright.catalog import Catalog
from gpuwright.facts import HostFacts
from gpuwright.plan.amd.driver import DriverChoice, choose_driver
from gpuwright.plan.amd.kernel import version_of
from gpuwright.plan.amd.rocm import plan_rocm, repository
from gpuwright.plan.gpu_model import DriverPlan, Gpu, KernelPlan
from gpuwright.plan.model import AptRepository
from gpuwright.plan.notes import Notes
from gpuwright.plan.pins import pins_for
from gpuwright.settings import HostSettings

MODULE = "amdgpu"


def plan_amd(
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    gpus: tuple[Gpu, ...],
    kernel: KernelPlan,
    path: str,
    notes: Notes,
) -> DriverPlan | None:
    """The driver of the host's AMD GPUs; None without one, or after a refusal was noted.

    `path` is where the slice will be in the plan (drivers.0).
    """
    ours = tuple(gpu for gpu in gpus if gpu.vendor == "amd" and gpu.use == "compute")
    if not ours:
        return None
    before = len(notes.refusals)
    rocm = plan_rocm(facts, settings, catalog, ours, notes)
    choice = choose_driver(facts, settings, catalog, ours, kernel, rocm.row, notes)
    if choice is None or len(notes.refusals) > before:
        return None
    notes.why(path, choice.why.reason, choice.why.source)
    own, packages = _driver_packages(facts, catalog, choice)
    repositories = own + rocm.repositories
    if choice.row:
        room = f"amdgpu-dkms, whose initramfs wants {choice.row.boot_free_mib} MiB free in /boot"
        notes.why(f"{path}.packages", room, choice.row.source)
    for index in range(len(own), len(repositories)):
        notes.why(f"{path}.repositories.{index}", rocm.why.reason, rocm.why.source)
    for index in range(len(packages), len(packages) + len(rocm.packages)):
        notes.why(f"{path}.packages.{index}", rocm.why.reason, rocm.why.source)
    managed = choice.delivery != "unmanaged"
    return DriverPlan(
        vendor="amd",
        source={"dkms": "amd", "in-tree": "kernel"}.get(choice.delivery, "unmanaged"),
        branch=choice.branch,
        modules="in-tree" if choice.delivery == "in-tree" else "open",
        delivery=choice.delivery,
        repositories=repositories,
        pins=pins_for(repositories, catalog.amd.pins, f"{path}.pins", notes),
        packages=packages + rocm.packages,
        first=(),
        components=(),
        module=MODULE,
        options=_options(facts, catalog, ours, kernel, choice, path, notes),
        load=(MODULE,) if managed else (),
        blacklist=(),
        units=(),
    )


def _driver_packages(
    facts: HostFacts, catalog: Catalog, choice: DriverChoice
) -> tuple[tuple[AptRepository, ...], tuple[str, ...]]:
    """Of AMD's own driver; one whose release the catalogue does not know keeps what it has."""
    row = choice.row
    if row is None:
        return (), ()
    suite = row.suites.get(facts.release)
    return ((repository("amdgpu", row.uri, suite, catalog),) if suite else ()), row.packages


def _options(
    facts: HostFacts,
    catalog: Catalog,
    gpus: tuple[Gpu, ...],
    kernel: KernelPlan,
    choice: DriverChoice,
    path: str,
    notes: Notes,
) -> tuple[str, ...]:
    """Workarounds that cards need with a kernel that does not have the fix; none where the kernel is not known."""
    version = version_of(facts, catalog, kernel)
    options: list[str] = []
    for row in catalog.amd.workarounds:
        hit = sorted({gpu.target for gpu in gpus} & set(row.targets))
        if choice.delivery == "in-tree" and version and hit and version.before(row.kernel_fixed):
            for option in row.options:
                notes.why(
                    f"{path}.options.{len(options)}",
                    f"{', '.join(hit)} on Linux {version.text}, before {row.kernel_fixed}",
                    row.source,
                )
                options.append(option)
    return tuple(options)
