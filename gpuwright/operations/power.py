"""Power limits and clocks of GPUs: what the cards take and show now, and the unit that sets them."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from pyinfra import host
from pyinfra.api import FactBase, operation
from pyinfra.api.command import PyinfraCommand, StringCommand
from typing_extensions import override

from gpuwright.errors import Refusal
from gpuwright.operations.card_power import READ, CardPower, differences, parse
from gpuwright.operations.ownership import OURS, Owners
from gpuwright.operations.shell import failure, script, show, will_change, would_change
from gpuwright.operations.units import UNIT_DIRECTORY, unit_states
from gpuwright.plan.gpu_model import CardSetting
from gpuwright.plan.model import ManagedFile, Unit
from gpuwright.plan.power import SCRIPT, TEMPLATE, PowerScript
from gpuwright.render import render


class CardsPower(FactBase[dict[str, CardPower]]):
    """Cards that answer, by address; `vendors` says whom to ask, `amd` are the addresses of AMD's."""

    @override
    def command(self, vendors: tuple[str, ...], amd: tuple[str, ...]) -> StringCommand:
        ask = "\n".join(f"card_power_{vendor}" for vendor in vendors)
        return script(f"amd=$*\n{READ}\n{{\n{ask}\n}} 2>/dev/null\nexit 0", *amd)

    @override
    @staticmethod
    def default() -> dict[str, CardPower]:
        return {}

    @override
    def process(self, output: list[str]) -> dict[str, CardPower]:
        return parse(output)


@operation()
def accepted(cards: tuple[CardSetting, ...], units: tuple[Unit, ...]) -> Generator[PyinfraCommand]:
    """
    Refuse what a card does not take before anything is changed; stop the unit where a card shows something else.

    A unit that is stopped changes no card; it is started by the operation that has all of them running.

    + cards: what they are to be set to
    + units: the unit that sets it
    """
    if not cards:
        return
    vendors = tuple(dict.fromkeys(card.vendor for card in cards))
    if would_change(("kernel", *vendors)):
        show("cards: set when their driver is there")
        return
    amd = tuple(dict.fromkeys(card.address for card in cards if card.vendor == "amd"))
    found = host.get_fact(CardsPower, vendors=vendors, amd=amd)
    refusals = tuple(_refusals(cards, found))
    if refusals:
        yield failure(*refusals)
        return
    changes = tuple(differences(cards, found))
    if not changes:
        host.noop("the cards show what is declared")
        return
    show(*changes)
    will_change(SCRIPT)
    active = [name for name, state in unit_states(units).items() if state.active == "active"]
    if active:
        yield script('systemctl stop "$@"', *active)


@operation()
def dropped(units: tuple[str, ...]) -> Generator[PyinfraCommand]:
    """
    Put back what our unit has set, and remove it; a unit of this name that others wrote stays.

    + units: those that nothing declares any more
    """
    if not units:
        return
    paths = {unit: f"{UNIT_DIRECTORY}/{unit}" for unit in units}
    owners = host.get_fact(Owners, paths=(*paths.values(), SCRIPT))
    gone = [unit for unit, path in paths.items() if owners.get(path) == OURS]
    if not gone and owners.get(SCRIPT) != OURS:
        return
    show(f"{', '.join(units)}: no longer declared -> the cards' defaults, then removed")
    # The script that is declared now: whatever became of the one on the host, this puts back what the state tells.
    yield script(render(ManagedFile(SCRIPT, TEMPLATE, PowerScript(()))))
    if gone:
        yield script('systemctl disable --now --quiet "$@"', *gone)
    # The unit's file goes last: it is what a later run knows an interrupted removal by.
    yield script(
        'rm -f "$@" && rmdir --ignore-fail-on-non-empty "${1%/*}" && systemctl daemon-reload',
        SCRIPT,
        *(paths[unit] for unit in gone),
    )


def _refusals(cards: tuple[CardSetting, ...], found: dict[str, CardPower]) -> Iterator[Refusal]:
    for address in dict.fromkeys(card.address for card in cards if card.address not in found):
        yield Refusal(
            f"pending: power of gpu {address}",
            "its driver does not answer for it (nvidia-smi, or hwmon in sysfs)",
            "a driver that is loaded and holds the card",
            "Load the driver or reboot the host, then run again; gpuwright verify HOST says what is wrong with it.",
        )
    for card in cards:
        there = found.get(card.address)
        if there is None:
            continue
        subject = f"gpu {card.address}"
        if card.what == "limit" and (takes := _takes(card.value, there.lowest, there.highest, "W")):
            yield Refusal(subject, f"{card.value} W is declared", takes, "Correct power_limit_watts.")
        if card.what == "clock" and (takes := _takes(card.value, 1, there.highest_clock, "MHz")):
            yield Refusal(subject, f"at most {card.value} MHz is declared", takes, "Correct power_clock_mhz.")


def _takes(value: int, lowest: float | None, highest: float | None, of: str) -> str:
    """What the card takes instead of `value`; "" where it takes it."""
    if lowest is None or highest is None:
        return f"a card that says how many {of} it takes; this one does not"
    return (
        "" if lowest <= value <= highest else f"{lowest:g} to {highest:g} {of}, which is what the card takes"
    )
