"""Power that an engine draws while nobody asks it anything."""

from __future__ import annotations

from gpuwright.catalog import Catalog
from gpuwright.catalog.version import at_least
from gpuwright.plan.gpu_model import DriverPlan
from gpuwright.plan.notes import Notes
from gpuwright.settings import ServiceDeclaration


def idle_variables(
    declared: ServiceDeclaration, vendor: str, drivers: tuple[DriverPlan, ...], catalog: Catalog, notes: Notes
) -> tuple[tuple[str, str], ...]:
    """What low_idle_power sets for the vendor's cards; refused for a driver that does not know it."""
    if not declared.low_idle_power:
        return ()
    branch = next((driver.branch for driver in drivers if driver.vendor == vendor), "")
    row = next((row for row in catalog.idle if row.vendor == vendor), None)
    if row is None or (row.driver and not at_least(branch, row.driver)):
        notes.refuse(
            f"service {declared.name}",
            f"low_idle_power is declared, and it has {f'driver {branch}' if row else 'no GPU'}",
            f"{row.variable} of driver {row.driver} or newer"
            if row
            else "a GPU whose idle power can be kept low",
            "Remove low_idle_power.",
        )
        return ()
    return ((row.variable, row.value),)
