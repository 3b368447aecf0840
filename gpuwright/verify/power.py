"""Checks of GPUs' power limits and clocks: what the cards themselves say of them."""

from __future__ import annotations

from collections.abc import Iterator

from gpuwright.operations.card_power import CardPower, parse, watts
from gpuwright.operations.ownership import OURS
from gpuwright.plan import HostPlan
from gpuwright.plan.power import SCRIPT, UNIT_FILE
from gpuwright.verify.check import DEPLOY, Finding, check, compare, skipped, unknown
from gpuwright.verify.readings import ABSENT, Readings

SILENT = "its driver does not answer for it"
LOOK = "Read `journalctl -u gpu-power`, and driver.gpus above."


@check("power.limits", severity="major", source="nvidia-smi: power.limit; amdgpu's hwmon: power1_cap")
def limits(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Has each GPU the power limit that is declared for it?"""
    found = _cards(readings)
    for address, wanted in plan.power.limits_watts:
        card = found.get(address)
        if card is None or card.limit is None:
            yield unknown(address, SILENT, f"{wanted} W", LOOK)
            continue
        meaning = "It draws, and heats, other than was planned for its supply and its air."
        action = f"Somebody set it by hand, or its driver was loaded anew. {DEPLOY}"
        yield compare(address, watts(card.limit), f"{wanted} W", meaning, action)


@check(
    "power.clocks", severity="minor", source="nvidia-smi: clocks.gr, utilization.gpu; no call reads a lock"
)
def clocks(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Is no GPU faster than its declared clock? One that does nothing cannot show it."""
    found = _cards(readings)
    for address, highest in plan.power.clocks_mhz:
        card, expected = found.get(address), f"at most {highest} MHz"
        if card is None or card.clock is None:
            yield unknown(address, SILENT, expected, LOOK)
            continue
        observed = f"{card.clock:g} MHz"
        if card.clock > highest:
            action = f"Somebody reset it by hand, or its driver was loaded anew. {DEPLOY}"
            yield compare(address, observed, expected, "Its lock is gone.", action)
        elif card.load:
            yield compare(address, f"{observed} under load", expected, "", "", good=True)
        else:
            yield skipped(
                address, f"{observed} without load: only work shows whether the lock holds", expected
            )


@check("power.dropped", severity="minor", source="plan, power.dropped")
def dropped(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Is our unit gone where nothing is declared for it to set?"""
    for _ in plan.power.dropped:
        owners = readings.columns("owners_of_settings", 2, lambda row: row[0])
        ours = None if owners is None else [path for path in (UNIT_FILE, SCRIPT) if owners.get(path) == OURS]
        observed = None if ours is None else "there" if ours else ABSENT
        yield compare(UNIT_FILE, observed, ABSENT, "Cards are still set to what nobody declares.", DEPLOY)


def _cards(readings: Readings) -> dict[str, CardPower]:
    return parse(readings.names("card_power") or ())
