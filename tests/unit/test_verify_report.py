"""What verify makes of verdicts: outcomes, exit codes, the table, JSON and JUnit."""

from __future__ import annotations

import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from gpuwright.errors import Refusal
from gpuwright.verify import junit, view
from gpuwright.verify.verdict import HostReport, Status, Verdict, exit_code


def verdict(status: Status, check: str = "unit.active", observed: str = "seen") -> Verdict:
    return Verdict(check, "chat", status, observed, "wanted", "It is down.", "Start it.", "man", "critical")


def report(*statuses: Status, host: str = "a") -> HostReport:
    return HostReport(host, tuple(verdict(status) for status in statuses), (), 1.0)


UNREACHABLE = HostReport("u", (), (Refusal("host u", "no answer", "one", "Look."),), 1.0)


@pytest.mark.parametrize(
    ("statuses", "outcome"),
    [
        (("pass", "skip"), "as declared"),
        (("pass", "fail"), "differs"),
        (("fail", "unknown"), "differs"),
        (("pass", "unknown"), "could not judge"),
        ((), "could not judge"),
    ],
)
def test_outcome(statuses: tuple[Status, ...], outcome: str) -> None:
    assert report(*statuses).outcome == outcome


def test_exit_codes_of_a_fleet() -> None:
    good, bad = report("pass"), report("fail")
    assert exit_code([good, good]) == 0
    assert exit_code([good, bad]) == 2
    assert exit_code([good, bad, UNREACHABLE]) == 1
    assert exit_code([good, report("unknown")]) == 1
    assert exit_code([]) == 1


def text_of(found: HostReport, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(view.render(found))
    return stream.getvalue()


def test_the_worst_comes_first_and_is_explained() -> None:
    shown = text_of(report("pass", "skip", "unknown", "fail"))
    rows = [line.split()[0] for line in shown.splitlines() if "unit.active" in line]
    assert rows == ["fail", "unknown", "skip", "pass", "unit.active", "unit.active"]
    assert "meaning   It is down." in shown
    assert shown.count("-> Start it.") == 1


def test_a_host_that_could_not_be_judged_says_why() -> None:
    shown = text_of(UNREACHABLE)
    assert "u: could not judge" in shown
    assert "host u: no answer; required: one. Look." in shown


def test_what_a_host_said_is_no_markup() -> None:
    odd = HostReport("a", (verdict("fail", observed="[red]x[/nothing]"),), (), 1.0)
    assert "[red]x[/nothing]" in text_of(odd)


def test_json_holds_everything() -> None:
    found = json.loads(json.dumps(view.to_json(Path("inventories/lab.py"), [report("fail"), UNREACHABLE])))
    assert found["exit_code"] == 1
    assert found["hosts"][0]["verdicts"][0]["meaning"] == "It is down."
    assert found["hosts"][1]["refusals"][0]["observed"] == "no answer"
    assert [host["outcome"] for host in found["hosts"]] == ["differs", "could not judge"]


def test_junit_counts_by_host() -> None:
    odd = HostReport(
        "a", (verdict("fail", observed="\x1b[31m<&>\x00"), verdict("unknown"), verdict("skip")), (), 1.0
    )
    root = ElementTree.fromstring(junit.to_xml([odd, UNREACHABLE]).encode())
    counts = {
        suite.get("name"): [suite.get(k) for k in ("tests", "failures", "errors", "skipped")]
        for suite in root
    }
    assert counts == {"a": ["3", "1", "1", "1"], "u": ["1", "0", "1", "0"]}
    failure = next(root.iter("failure"))
    assert "<&>" in str(failure.get("message"))
    assert failure.text == "It is down. Start it."
