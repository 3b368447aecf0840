"""Checks of what NCCL and RCCL are told on the host; that their files are as rendered is files.as-rendered's."""

from __future__ import annotations

from collections.abc import Iterator

from gpuwright.operations.ownership import OURS
from gpuwright.plan import HostPlan
from gpuwright.verify.check import DEPLOY, UNREAD, Finding, check, compare, unknown
from gpuwright.verify.readings import ABSENT, Readings

# It names a file that is read in the place of the user's own; what stands there nobody planned.
OTHER_FILE = "NCCL_CONF_FILE"


@check(
    "collectives.in-force", severity="minor", source="NCCL, src/misc/param.cc: who sets a variable first wins"
)
def in_force(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Does nothing of root's own hold over the planned variables?"""
    for file in plan.collectives.files:
        expected = "nothing of root's own sets its variables otherwise"
        rows = readings.rows("collectives_overrides", 2, maxsplit=1)
        if rows is None:
            yield unknown(file.path, UNREAD, expected)
            continue
        other_library = ".rccl.conf" if "nccl" in file.path else ".nccl.conf"
        planned = dict(plan.collectives.variables)
        over = [
            f"{line} in {place}"
            for place, line in rows
            if not place.endswith(other_library) and _differs(line, planned)
        ]
        meaning = "Programs that root or systemd starts here do not get what is planned; containers do."
        action = "Remove it there, or declare it: interconnect_variables."
        yield compare(file.path, ", ".join(over) or expected, expected, meaning, action)


@check("collectives.dropped", severity="minor", source="plan, collectives.dropped_files")
def dropped(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Are our files gone where the plan has nothing to set? Others' may stay."""
    owners = readings.columns("owners_of_settings", 2, lambda row: row[0])
    for path in plan.collectives.dropped_files:
        observed = None if owners is None else owners.get(path, ABSENT)
        good = None if observed is None else observed != OURS
        meaning = "Variables that nobody plans are still in force."
        yield compare(path, observed, f"{ABSENT}, or others'", meaning, DEPLOY, good=good)


def _differs(line: str, planned: dict[str, str]) -> bool:
    name, _, value = line.partition("=")
    return name == OTHER_FILE or (name in planned and value.strip("\"'") != planned[name])
