"""Verdicts for people: a table per host, the worst first, and below it what a failure means and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gpuwright.plan.model import Json
from gpuwright.verify.verdict import HostReport, Verdict, exit_code

_STYLES = {"fail": "bold red", "unknown": "yellow", "skip": "dim", "pass": "green"}
_DIGEST = re.compile(r"sha256:([0-9a-f]{12})[0-9a-f]{52}")
_OUTCOMES = {"as declared": "green", "differs": "bold red", "could not judge": "yellow"}


def render(report: HostReport) -> RenderableType:
    """One host: its table, or the reasons why there is none."""
    head = Text.assemble(
        (report.host, "bold"), ": ", (report.outcome, _OUTCOMES[report.outcome]), f" ({_counts(report)})"
    )
    if report.refusals:
        reasons = [Padding(Text(str(refusal), style="yellow"), (0, 0, 0, 2)) for refusal in report.refusals]
        return Group(Text.assemble((report.host, "bold"), ": ", ("could not judge", "yellow")), *reasons)
    verdicts = sorted(report.verdicts, key=lambda verdict: verdict.rank)
    table = Table("", title=head, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("check", no_wrap=True)
    table.add_column("observed", overflow="fold")
    for row in _rows(verdicts):
        table.add_row(*row)
    return Group(table, *_explained(verdicts))


def summary(reports: Sequence[HostReport]) -> Text:
    """One line for all hosts, with the hosts that are not as declared by name."""
    text = Text()
    for outcome, style in _OUTCOMES.items():
        hosts = [report.host for report in reports if report.outcome == outcome]
        if hosts:
            names = f" ({', '.join(hosts)})" if outcome != "as declared" else ""
            text.append(f"{', ' if text else ''}{len(hosts)} {outcome}{names}", style=style)
    return text


def to_json(inventory: Path, reports: Sequence[HostReport]) -> dict[str, Json]:
    """All of it for machines."""
    hosts: list[Json] = [{**asdict(report), "outcome": report.outcome} for report in reports]
    return {"inventory": str(inventory), "exit_code": exit_code(reports), "hosts": hosts}


def _counts(report: HostReport) -> str:
    words = {"fail": "failed", "unknown": "unknown", "skip": "skipped", "pass": "passed"}
    statuses = [verdict.status for verdict in report.verdicts]
    counts = [f"{statuses.count(status)} {word}" for status, word in words.items() if status in statuses]
    return f"{', '.join(counts)}, {report.seconds:.1f} s"


def _rows(verdicts: list[Verdict]) -> Iterator[tuple[Text, Text, Text]]:
    """A row for each verdict; passes of one check share theirs."""
    for (status, check), group in groupby(verdicts, key=lambda verdict: (verdict.status, verdict.check)):
        same = list(group)
        for row in [same] if status == "pass" else [[verdict] for verdict in same]:
            yield Text(status, style=_STYLES[status]), Text(check), _observed(row)


def _observed(row: list[Verdict]) -> Text:
    """Who, and what was seen there; long paths and digests by their tail and head."""
    first = row[0].subject.rpartition("/")[2]
    who = first if len(row) == 1 else f"{first} and {len(row) - 1} more"
    seen = {verdict.observed for verdict in row}
    what = _DIGEST.sub(r"\1", row[0].observed) if len(seen) == 1 else "as expected"
    return Text.assemble((f"{who}: ", "dim"), what)


def _explained(verdicts: list[Verdict]) -> Iterator[RenderableType]:
    """What is wrong, what it means, and what to do, said once for all that it helps."""
    actions: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.status in ("fail", "unknown"):
            actions.setdefault(verdict.action, []).append(verdict)
    for action, same in actions.items():
        for verdict in same:
            yield Text.assemble((verdict.check, "bold"), f" {verdict.subject}", style=_STYLES[verdict.status])
            lines = [
                f"observed  {verdict.observed}",
                f"expected  {verdict.expected}",
                f"meaning   {verdict.meaning}",
            ]
            yield Padding(Text("\n".join(lines)), (0, 0, 0, 2))
        yield Text.assemble(("-> ", "bold"), action, "\n")
