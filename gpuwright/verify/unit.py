"""Checks of systemd units: the engine's, the services', and the clock's where one is planned."""

from __future__ import annotations

from collections.abc import Iterator

from gpuwright.plan import HostPlan
from gpuwright.plan.model import Service, Unit
from gpuwright.verify.check import DEPLOY, UNREAD, Finding, check, compare, skipped, unknown
from gpuwright.verify.parts import planned
from gpuwright.verify.readings import Readings, UnitReading

# systemctl(1), is-enabled: these need no `enable`
STARTS_AT_BOOT = ("enabled", "static", "alias", "indirect", "generated")


@check("unit.active", severity="critical", source="systemctl(1), is-active")
def active(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Does every planned unit run?"""
    for unit, found in _units(readings, plan):
        meaning = "What it serves is down."
        action = f"Read `journalctl -u {unit.name}`. {DEPLOY}"
        observed = None if found is None else found.active
        if found is not None and found.active != "active":
            observed = f"{found.active} ({found.sub})"
        yield _optional(unit, found) or compare(unit.name, observed, "active", meaning, action)


@check("unit.enabled", severity="critical", source="systemctl(1), is-enabled")
def enabled(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Will every planned unit come back after a reboot?"""
    for unit, found in _units(readings, plan):
        meaning = "It will not come back after a reboot."
        state = None if found is None else found.enabled or "no unit file"
        good = None if found is None else found.enabled in STARTS_AT_BOOT
        yield _optional(unit, found) or compare(unit.name, state, "enabled", meaning, DEPLOY, good=good)


@check("unit.fresh", severity="major", source="start of the unit against the times of its files")
def fresh(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Did every unit start after the last change of the files that it was started from?"""
    expected = "started after its files changed"
    for unit, found in _units(readings, plan):
        changed = (
            None if readings.watches is None else [readings.watches.get((unit.name, w)) for w in unit.watches]
        )
        if (without := _optional(unit, found)) is not None:
            yield without
        elif found is None or changed is None:
            yield unknown(unit.name, UNREAD, expected)
        elif found.began_ns is None:
            yield compare(unit.name, "never started", expected, "It is down.", DEPLOY)
        else:
            began = found.began_ns
            # systemd's times end at microseconds.
            late = [
                w
                for w, ns in zip(unit.watches, changed, strict=True)
                if ns is not None and ns // 1000 > began // 1000
            ]
            observed = f"older than {', '.join(late)}" if late else expected
            meaning = "It still runs with what those files said before."
            yield compare(unit.name, observed, expected, meaning, f"{DEPLOY} The service restarts.")


@check("unit.loaded", severity="major", source="systemctl(1), NeedDaemonReload")
def loaded(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Does systemd hold the unit file that lies on the disk?"""
    for unit, found in _units(readings, plan):
        observed = None if found is None else "another one" if found.needs_reload else "the file on the disk"
        meaning = "The next start uses an old unit file."
        yield _optional(unit, found) or compare(unit.name, observed, "the file on the disk", meaning, DEPLOY)


@check("unit.no-drop-ins", severity="critical", source="systemd.unit(5), drop-in directories")
def drop_ins(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Is a service's unit file all there is to it? A drop-in can replace every line of it."""
    for service in planned(plan, Service):
        found = (readings.units or {}).get(service.unit)
        observed = None if found is None else ", ".join(found.drop_ins) or "none"
        meaning = "It changes how the service starts, and a deploy does not see it."
        action = f"Declare what it does, or remove it: systemctl revert {service.unit}; then deploy again."
        yield compare(service.unit, observed, "none", meaning, action)


@check("units.only-declared", severity="major", source="plan, services")
def only_declared(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Are there no units and no containers of services that nobody declares?"""
    services = planned(plan, Service)
    for section, known in (
        ("our_units", {service.unit for service in services}),
        ("our_containers", {service.container for service in services}),
    ):
        what = section.removeprefix("our_")
        names = readings.names(section)
        strays = None if names is None else [name for name in names if name not in known]
        observed = None if strays is None else ", ".join(strays) or "none"
        meaning = "Something runs, or will at the next boot, that no plan knows."
        action = DEPLOY if what == "units" else "Look what it is, then: docker rm --force NAME"
        yield compare(f"{what} beside the declared", observed, "none", meaning, action)


def _units(readings: Readings, plan: HostPlan) -> Iterator[tuple[Unit, UnitReading | None]]:
    for unit in planned(plan, Unit):
        yield unit, (readings.units or {}).get(unit.name)


def _optional(unit: Unit, found: UnitReading | None) -> Finding | None:
    """A host that has no such unit keeps its own answer, which packages.installed judges."""
    if unit.optional and found is not None and found.load in ("not-found", "masked"):
        return skipped(unit.name, f"{found.load}: another program does this here")
    return None
