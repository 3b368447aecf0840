"""What a million tokens costs: the cards over their years, and their energy."""

from __future__ import annotations

from dataclasses import dataclass

_HOURS_A_YEAR = 8766
_MILLION = 1_000_000


@dataclass(frozen=True)
class Rates:
    """What a card costs, in US dollars, over how many years it is written off, and a kilowatt-hour, in US dollars."""

    usd_a_card: float | None
    years: float
    usd_a_kwh: float


@dataclass(frozen=True)
class Cost:
    """For a million generated tokens at full use: energy in watt-hours, its price and the cards' share in US dollars.

    `cards_usd` is None where nobody knows what a card costs.
    """

    watt_hours: float
    energy_usd: float
    cards_usd: float | None

    @property
    def total_usd(self) -> float | None:
        return None if self.cards_usd is None else self.energy_usd + self.cards_usd


def cost(tokens_s: float, watts: float, cards: int, rates: Rates) -> Cost:
    """Of cards that draw `watts` together, which is what they are made for and so the most."""
    hours = _MILLION / tokens_s / 3600
    cards_usd = None
    if rates.usd_a_card is not None:
        cards_usd = cards * rates.usd_a_card / (rates.years * _HOURS_A_YEAR) * hours
    return Cost(watts * hours, watts / 1000 * hours * rates.usd_a_kwh, cards_usd)
