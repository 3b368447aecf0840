"""What GPUs say of their power limits and clocks: asked here by operations, and by verify."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gpuwright.plan.gpu_model import CardSetting

# $amd: addresses. A line for each card: address, limit, lowest and highest limit in watts, clock and highest clock in
# MHz, persistence mode, load in %. AMD's are watts of hwmon, whose card is woken by opening its node (Linux 6.15).
# It ends though nvidia-smi may not: a process that waits for a dead GPU takes no signal, and must not hold our output.
READ = r"""
card_power_nvidia() {
    fields=pci.bus_id,power.limit,power.min_limit,power.max_limit,clocks.gr,clocks.max.gr,persistence_mode,utilization.gpu
    {
        { timeout -k 1 30 nvidia-smi --query-gpu="$fields" --format=csv,noheader,nounits; } </dev/null &
    } | timeout 35 cat
}
card_power_amd() {
    for address in $amd; do
        function=/sys/bus/pci/devices/$address
        for node in "$function"/drm/renderD*; do
            if [ -e "/dev/dri/${node##*/}" ]; then : <"/dev/dri/${node##*/}"; fi
        done
        for file in "$function"/hwmon/hwmon*/power1_cap; do
            [ -e "$file" ] || continue
            line=$address
            for each in "$file" "${file}_min" "${file}_max"; do
                line="$line, $(awk '/^[0-9]+$/ { print $1 / 1000000 }' "$each")"
            done
            printf '%s, , , , \n' "$line"
        done
    done
}
"""


@dataclass(frozen=True)
class CardPower:
    """A GPU's own words; None is what it does not say. Watts, MHz, and the load in percent."""

    limit: float | None
    lowest: float | None
    highest: float | None
    clock: float | None
    highest_clock: float | None
    persistence: str
    load: float | None


def parse(lines: Iterable[str]) -> dict[str, CardPower]:
    """Cards by PCI address; a line that is none, nvidia-smi's complaint for example, is left out."""
    found = {}
    for line in lines:
        columns = [column.strip() for column in line.split(",")]
        if len(columns) == 8 and columns[0].count(":") == 2:
            limit, lowest, highest, clock, highest_clock = map(_number, columns[1:6])
            found[pci_address(columns[0])] = CardPower(
                limit, lowest, highest, clock, highest_clock, columns[6], _number(columns[7])
            )
    return found


def pci_address(text: str) -> str:
    """As the kernel writes it: nvidia-smi has eight digits of the PCI domain, the kernel four unless there are more.

    >>> pci_address("00000000:C1:00.0")
    '0000:c1:00.0'
    """
    domain, _, rest = text.lower().partition(":")
    return f"{domain.removeprefix('0000'):0>4}:{rest}"


def differences(cards: Iterable[CardSetting], found: dict[str, CardPower]) -> Iterator[str]:
    """What of `cards` the GPUs show otherwise. A lock cannot be read; a clock above it shows that it is gone."""
    for card in cards:
        there = found[card.address]
        if card.what == "limit" and there.limit != card.value:
            yield f"{card.address}: {watts(there.limit)} -> {card.value} W"
        if card.what == "persistence" and there.persistence != "Enabled":
            yield f"{card.address}: persistence mode {there.persistence or 'unknown'} -> Enabled"
        if card.what == "clock" and there.clock is not None and there.clock > card.value:
            yield f"{card.address}: at {there.clock:g} MHz -> at most {card.value} MHz"


def watts(value: float | None) -> str:
    """300 W."""
    return "no limit" if value is None else f"{value:g} W"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
