"""What AMD's planners ask of the kernel that was planned: its version, and whether modules can be built for it."""

from __future__ import annotations

from dataclasses import dataclass

from gpuwright.catalog import Catalog
from gpuwright.catalog.version import at_least
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import KernelPlan
from gpuwright.plan.kernel.choice import built_version, planned_row, running


@dataclass(frozen=True)
class KernelVersion:
    """The version of the kernel that the plan boots: 6.12.117."""

    text: str

    def before(self, floor: str) -> bool:
        """Whether it is older than a series or version."""
        return not at_least(self.text, floor)


def version_of(facts: HostFacts, catalog: Catalog, kernel: KernelPlan) -> KernelVersion | None:
    """The version of the planned kernel; None for one that is kept and could not be read."""
    if kernel.flavour == "keep":
        now = running(facts)
        return KernelVersion(now.release) if now else None
    if kernel.flavour == "built":
        built = built_version(catalog, facts.release, kernel)
        return KernelVersion(built) if built else None
    row = planned_row(facts, catalog, kernel)
    return KernelVersion(row.version) if row else None


def has_headers(facts: HostFacts, kernel: KernelPlan) -> bool:
    """Whether modules can be built: a kernel that is kept brings no headers along, any other does."""
    if kernel.flavour != "keep":
        return True
    return all(found.headers for found in facts.found.kernels if found.running)
