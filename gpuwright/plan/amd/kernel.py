"""What AMD's planners ask of the kernel that was planned: its version, and whether modules can be built for it."""

from __future__ import annotations

from dataclasses import dataclass

from gpuwright.catalog import Catalog
from gpuwright.catalog.amd import series
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import KernelPlan
from gpuwright.plan.kernel.choice import built_version


@dataclass(frozen=True)
class KernelVersion:
    """The version of the kernel that the plan boots: 6.12.117."""

    text: str

    def before(self, floor: str) -> bool:
        """Whether it is older than a series or version."""
        return series(self.text) < series(floor)


def version_of(facts: HostFacts, catalog: Catalog, kernel: KernelPlan) -> KernelVersion | None:
    """The version of the planned kernel; None for one that is kept and could not be read."""
    os = f"{facts.os_id} {facts.os_version}"
    if kernel.flavour == "keep":
        release = next((found.release for found in facts.found.kernels if found.running), "")
        return KernelVersion(release) if release else None
    if kernel.flavour == "built":
        built = built_version(catalog, os, kernel)
        return KernelVersion(built) if built else None
    for row in catalog.kernels.offered(os):
        if (row.flavour, row.suite) == (kernel.flavour, kernel.suite):
            return KernelVersion(row.version)
    return None


def has_headers(facts: HostFacts, kernel: KernelPlan) -> bool:
    """Whether modules can be built: a kernel that is kept brings no headers along, any other does."""
    if kernel.flavour != "keep":
        return True
    return all(found.headers for found in facts.found.kernels if found.running)
