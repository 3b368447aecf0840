"""Slice `power`: persistence and limits."""

from __future__ import annotations

from gpuwright.catalog import Catalog
from gpuwright.facts import NVIDIA, HostFacts
from gpuwright.plan.gpu_model import DriverPlan, Gpu, PowerPlan
from gpuwright.plan.notes import Notes
from gpuwright.plan.peers import Card, cards
from gpuwright.settings import HostSettings

PERSISTENCE = "NVIDIA driver persistence, docs.nvidia.com/deploy/driver-persistence"


def plan_power(
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    gpus: tuple[Gpu, ...],
    drivers: tuple[DriverPlan, ...],
    notes: Notes,
) -> PowerPlan:
    """Persistence, and the limits that are declared."""
    compute = cards(facts, gpus, catalog)
    return PowerPlan(_persistence(facts, settings, compute, notes), _limits(facts, settings, compute, notes))


def _persistence(facts: HostFacts, settings: HostSettings, compute: tuple[Card, ...], notes: Notes) -> bool:
    if facts.in_container:
        keep, reason = False, "a container: the driver is that of the machine around it"
    elif not any(card.row.vendor == NVIDIA for card in compute):
        keep, reason = False, "no NVIDIA GPU for computing"
    else:
        keep = settings.power.power_persistence
        reason = (
            "without it every first client waits for the GPU, and settings are lost" if keep else "declared"
        )
    notes.why("power.persistence", reason, f"setting power_persistence; {PERSISTENCE}")
    return keep


def _limits(
    facts: HostFacts, settings: HostSettings, compute: tuple[Card, ...], notes: Notes
) -> tuple[tuple[str, int], ...]:
    """Watts by address; a limit by address holds over one by name."""
    declared = settings.power.power_limit_watts
    limits: dict[str, int] = {}
    for key, watts in sorted(declared.items(), key=lambda item: _is_address(item[0])):
        meant = [card for card in compute if key in (card.gpu.address, card.row.name)]
        _check(facts, key, watts, compute, meant, notes)
        limits |= {card.gpu.address: watts for card in meant}
    notes.why("power.limits_watts", "declared", "setting power_limit_watts")
    return tuple(sorted(limits.items()))


def _check(
    facts: HostFacts, key: str, watts: int, compute: tuple[Card, ...], meant: list[Card], notes: Notes
) -> None:
    subject = f"setting power_limit_watts of {key}"
    here = ", ".join(f"{card.gpu.address} ({card.row.name})" for card in compute) or "none"
    if not meant:
        remedy = "Use a PCI address or the catalogue's name of a GPU that is there."
        notes.refuse(subject, f"the host's GPUs for computing are {here}", "one of them", remedy)
    if meant and facts.in_container:
        remedy = "Set the limit on the machine around it."
        notes.refuse(subject, "the host is a container", "a host with a driver of its own", remedy)
    for top in sorted({card.row.watts or 0 for card in meant}):
        if not 0 < watts <= top:
            known = (
                f"more than 0 and at most {top} W, what the card is made for"
                if top
                else "a card with a known limit"
            )
            notes.refuse(subject, f"{watts} W", known, "Declare less, or remove the limit.")


def _is_address(key: str) -> bool:
    return ":" in key
