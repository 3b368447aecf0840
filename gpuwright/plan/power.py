"""Slice `power`: persistence, limits and clocks, and what sets them at every boot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gpuwright.catalog import Catalog
from gpuwright.facts import AMD, NVIDIA, HostFacts
from gpuwright.plan.gpu_model import CardSetting, DriverPlan, Gpu, PowerPlan
from gpuwright.plan.model import ManagedFile, Unit
from gpuwright.plan.notes import Notes
from gpuwright.plan.peers import Card, cards
from gpuwright.settings import HostSettings

PERSISTENCE = "NVIDIA driver persistence, docs.nvidia.com/deploy/driver-persistence"
LOST = "nvidia-smi's own warning: without persistence settings go back as soon as the last program ends"
# No `gpuwright-`: that prefix is the services', and what has it and is no declared service is removed.
UNIT = "gpu-power.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
SCRIPT = "/usr/local/lib/gpuwright/gpu-power"
TEMPLATE = "power/gpu-power.sh.j2"
# Gone with a reboot, as are the settings that it tells of.
STATE = "/run/gpu-power"
WAIT_S = 60


@dataclass(frozen=True)
class PowerScript:
    """Context of the script. `wait_s` is how long a driver may take to have its cards ready after the boot."""

    cards: tuple[CardSetting, ...]
    sysfs: str = "/sys"
    devices: str = "/dev"
    state: str = STATE
    wait_s: int = WAIT_S


@dataclass(frozen=True)
class PowerUnit:
    """Context of the unit. `daemon` keeps NVIDIA's driver initialised; `planned`: what is set ends with it."""

    script: str
    daemon: str
    planned: bool


def plan_power(
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    gpus: tuple[Gpu, ...],
    drivers: tuple[DriverPlan, ...],
    notes: Notes,
) -> PowerPlan:
    """Persistence, the limits and clocks that are declared, and the unit that sets what no daemon does."""
    compute = cards(facts, gpus, catalog)
    daemon = catalog.nvidia.boot[0].persistence
    running = any(daemon in driver.units for driver in drivers)
    persistence = _persistence(facts, settings, compute, notes)
    limits = _limits(facts, settings, compute, notes)
    clocks = _clocks(facts, settings, catalog, compute, notes)
    by_hand = () if running or not persistence else tuple(c for c in compute if c.row.vendor == NVIDIA)
    vendors = {card.gpu.address: card.gpu.vendor for card in compute}
    wanted = (
        *(CardSetting(card.gpu.vendor, "persistence", card.gpu.address, 1) for card in by_hand),
        *(CardSetting(vendors[address], "limit", address, watts) for address, watts in limits),
        *(CardSetting(vendors[address], "clock", address, mhz) for address, mhz in clocks),
    )
    notes.why(
        "power.cards", "declared; or persistence, where no daemon of the driver's packages keeps it", LOST
    )
    notes.why("power.files", "sets them at every boot: cards forget them", LOST)
    notes.why("power.units", "sets them at every boot, and again when somebody changed them by hand", LOST)
    notes.why(
        "power.dropped", "nothing to set: a unit of an earlier plan puts defaults back and goes", "role power"
    )
    nvidia = any(card.vendor == "nvidia" for card in wanted)
    files = (
        ManagedFile(SCRIPT, TEMPLATE, PowerScript(wanted), "0755"),
        ManagedFile(
            UNIT_FILE,
            "power/gpu-power.unit.j2",
            PowerUnit(SCRIPT, daemon if nvidia else "", nvidia and running),
        ),
    )
    return PowerPlan(
        persistence=persistence,
        limits_watts=limits,
        clocks_mhz=clocks,
        cards=wanted,
        files=files if wanted else (),
        units=(Unit(UNIT, watches=(SCRIPT, UNIT_FILE)),) if wanted else (),
        dropped=() if wanted else (UNIT,),
    )


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
    """Watts by address."""
    name, declared = "power_limit_watts", settings.power.power_limit_watts
    for key, watts, meant in _meant(declared, compute):
        subject = f"setting {name} of {key}"
        _check(facts, settings, subject, compute, meant, notes)
        for top in sorted({card.row.watts or 0 for card in meant}):
            if not 0 < watts <= top:
                known = (
                    f"more than 0 and at most {top} W, what the card is made for"
                    if top
                    else "a card with a known limit"
                )
                notes.refuse(subject, f"{watts} W", known, "Declare less, or remove the limit.")
    notes.why("power.limits_watts", "declared", f"setting {name}")
    return _by_address(declared, compute)


def _clocks(
    facts: HostFacts, settings: HostSettings, catalog: Catalog, compute: tuple[Card, ...], notes: Notes
) -> tuple[tuple[str, int], ...]:
    """The highest graphics clock in MHz by address."""
    name, declared = "power_clock_mhz", settings.power.power_clock_mhz
    source = catalog.nvidia.locked_clocks[0]
    for key, mhz, meant in _meant(declared, compute):
        subject = f"setting {name} of {key}"
        _check(facts, settings, subject, compute, meant, notes)
        if mhz <= 0:
            notes.refuse(subject, f"{mhz} MHz", "more than 0 MHz", "Declare a clock that the card has.")
        if any(card.row.vendor == AMD for card in meant):
            notes.refuse(
                subject,
                "a card of AMD's, whose driver takes clocks as levels or tables that differ by generation and need its "
                "overdrive switched on at boot",
                "a card of NVIDIA's",
                "Limit its power instead: power_limit_watts.",
            )
        for arch in sorted({card.row.arch for card in meant if card.row.arch in source.without}):
            notes.refuse(
                subject,
                f"a card of {arch}, whose driver locks no clocks",
                "Volta or newer",
                "Limit its power instead: power_limit_watts.",
            )
    notes.why("power.clocks_mhz", "declared", f"setting {name}; {source.source}")
    return _by_address(declared, compute)


def _check(
    facts: HostFacts,
    settings: HostSettings,
    subject: str,
    compute: tuple[Card, ...],
    meant: list[Card],
    notes: Notes,
) -> None:
    """What holds for whatever a card is set to."""
    here = ", ".join(f"{card.gpu.address} ({card.row.name})" for card in compute) or "none"
    if not meant:
        remedy = "Use a PCI address or the catalogue's name of a GPU that is there."
        notes.refuse(subject, f"the host's GPUs for computing are {here}", "one of them", remedy)
    elif facts.in_container:
        remedy = "Set it on the machine around it."
        notes.refuse(subject, "the host is a container", "a host with a driver of its own", remedy)
    elif not settings.power.power_persistence and any(card.row.vendor == NVIDIA for card in meant):
        notes.refuse(
            subject,
            "power_persistence is off, and NVIDIA's driver forgets it when the last program ends",
            "a driver that stays initialised",
            "Switch power_persistence on, or remove this.",
        )


def _meant(declared: Mapping[str, int], compute: tuple[Card, ...]) -> list[tuple[str, int, list[Card]]]:
    """Each declaration with the cards that it names; those by address last, for they hold over those by name."""
    return [
        (key, value, [card for card in compute if key in (card.gpu.address, card.row.name)])
        for key, value in sorted(declared.items(), key=lambda item: ":" in item[0])
    ]


def _by_address(declared: Mapping[str, int], compute: tuple[Card, ...]) -> tuple[tuple[str, int], ...]:
    values: dict[str, int] = {}
    for _, value, meant in _meant(declared, compute):
        values |= {card.gpu.address: value for card in meant}
    return tuple(sorted(values.items()))
