"""Role power: persistence, limits and clocks of GPUs, set again at every boot."""

from pyinfra.api import deploy

from gpuwright.fleet import planned
from gpuwright.operations import files, ownership, units
from gpuwright.operations import power as cards
from gpuwright.settings import PowerSettings as Settings

__all__ = ["Settings", "power"]


@deploy("Power")
def power() -> None:
    """Set each GPU to what is declared of it, and put back what no longer is."""
    plan = planned().power
    ownership.respected(name="Nobody else's unit", files=plan.files)
    cards.accepted(name="What the cards take", cards=plan.cards, units=plan.units)
    files.rendered(name="Script and unit", files=plan.files)
    units.running(name="Limits and clocks", units=plan.units)
    cards.dropped(name="No longer declared", units=plan.dropped)
