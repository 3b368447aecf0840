"""Paths between GPUs through the PCI tree, from the bridges above each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from gpuwright.facts import PciDevice


def bridges_between(devices: Sequence[PciDevice], switches_only: bool) -> tuple[str, ...]:
    """Bridges that a transfer between two of `devices` passes, in address order.

    Two devices below one switch meet inside it: the path is what lies below the lowest bridge that they share. Others
    meet in the root complex, and the path goes up to their root ports; `switches_only` leaves those pairs out.
    """
    found: set[str] = set()
    for one, other in combinations(devices, 2):
        shared = _shared(one, other)
        if shared or not switches_only:
            found |= {*one.parents[shared:], *other.parents[shared:]}
    return tuple(sorted(found))


def below_one_switch(one: PciDevice, other: PciDevice) -> bool:
    """Whether two devices have a bridge in common, so that their transfers need not pass the processor."""
    return _shared(one, other) > 0


def _shared(one: PciDevice, other: PciDevice) -> int:
    """How many bridges, from the root port down, both are below."""
    count = 0
    for left, right in zip(one.parents, other.parents, strict=False):
        if left != right:
            break
        count += 1
    return count
