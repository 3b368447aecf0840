"""Drift from recorded results: verdicts, exit codes, JSON, JUnit and the text for people."""

from __future__ import annotations

import io
import json
from xml.etree import ElementTree

import pytest
from rich.console import Console

from gpuwright.drift.junit import to_junit
from gpuwright.drift.model import FileDiff, FleetDrift, HostDrift, OperationDrift
from gpuwright.drift.view import show
from gpuwright.overrides import parse_data

OK = OperationDrift("Base", "Packages", "ok")
LONG = "+Environment=" + "x" * 200
CHANGE = OperationDrift(
    "Inference",
    "Units",
    "change",
    ("chat: 0644 -> 0600",),
    (FileDiff("/etc/a", f"--- /etc/a\n+++ /etc/a\n@@ -1 +1 @@\n-old\n{LONG}"),),
    ("upload /etc/a",),
)
STAMP = OperationDrift("", "Stamp", "change", commands=("rm /etc/stamp",))
UNKNOWN = OperationDrift("Container engine", "daemon.json", "unknown")
SAME = HostDrift("same", (), (OK, OK))
DIFFERENT = HostDrift("different", (), (OK, CHANGE, STAMP))
PARTLY = HostDrift("partly", ("Container engine | daemon.json: not JSON",), (CHANGE, UNKNOWN))
GONE = HostDrift("gone", ("127.0.0.1:1: refused \x1b connection",))


def fleet(*hosts: HostDrift) -> FleetDrift:
    return FleetDrift("inventories/lab.py", hosts)


@pytest.mark.parametrize(
    ("hosts", "code"),
    [
        ((SAME,), 0),
        ((SAME, DIFFERENT), 2),
        ((GONE,), 1),
        ((DIFFERENT, GONE, SAME), 1),
        ((SAME, PARTLY), 1),
        ((), 1),
    ],
)
def test_the_exit_code_of_a_fleet(hosts: tuple[HostDrift, ...], code: int) -> None:
    assert fleet(*hosts).exit_code == code


def test_a_host_of_which_nothing_is_known_is_not_as_declared() -> None:
    assert HostDrift("silent").status == "could_not_judge"
    assert HostDrift("half", (), (OK, UNKNOWN)).status == "could_not_judge"


def test_json_is_the_documented_schema_and_comes_back() -> None:
    document = json.loads(json.dumps(fleet(SAME, DIFFERENT, GONE).to_json()))
    assert list(document) == ["schema", "inventory", "hosts", "exit_code"]
    assert (document["schema"], document["inventory"], document["exit_code"]) == (1, "inventories/lab.py", 1)
    assert [host["status"] for host in document["hosts"]] == ["as_declared", "differs", "could_not_judge"]
    assert document["hosts"][1]["operations"][1] == {
        "role": "Inference",
        "operation": "Units",
        "status": "change",
        "details": ["chat: 0644 -> 0600"],
        "diffs": [{"path": "/etc/a", "diff": CHANGE.diffs[0].diff}],
        "commands": ["upload /etc/a"],
    }
    assert tuple(map(HostDrift.from_json, document["hosts"])) == (SAME, DIFFERENT, GONE)


def test_junit_has_a_case_for_each_host_and_operation() -> None:
    root = ElementTree.fromstring(to_junit(fleet(SAME, DIFFERENT, PARTLY, GONE)))
    cases = {(case.get("classname"), case.get("name")): case for case in root.iter("testcase")}
    assert len(cases) == 1 + 3 + 2 + 1  # SAME has one operation twice
    assert not list(cases["same", "Base | Packages"])
    failure = cases["different", "Inference | Units"].find("failure")
    assert failure is not None and failure.text is not None and LONG in failure.text
    assert failure.get("message") == "chat: 0644 -> 0600"
    error = cases["partly", "Container engine | daemon.json"].find("error")
    assert error is not None and error.get("message") == PARTLY.reasons[0]
    unreachable = cases["gone", "host"].find("error")
    assert unreachable is not None and unreachable.get("message") == "127.0.0.1:1: refused ? connection"
    counts = {
        suite.get("name"): (suite.get("tests"), suite.get("failures"), suite.get("errors")) for suite in root
    }
    assert counts == {
        "same": ("2", "0", "0"),
        "different": ("3", "2", "0"),
        "partly": ("2", "1", "1"),
        "gone": ("1", "0", "1"),
    }


def test_people_see_one_line_or_a_table_and_the_reasons_at_the_end() -> None:
    stream = io.StringIO()
    show(fleet(SAME, PARTLY, DIFFERENT, GONE), Console(file=stream, width=80))
    text = stream.getvalue()
    assert text.splitlines()[0] == "same       as declared  (2 operations)"
    assert LONG in text.splitlines()  # not wrapped
    assert "rm /etc/stamp" in text
    table, found, reasons = text.partition("Could not be judged:\n")
    assert found and "not JSON" not in table
    assert "partly  Container engine | daemon.json: not JSON" in reasons
    assert "gone  127.0.0.1:1: refused" in reasons


def test_data_is_read_as_pyinfra_reads_it() -> None:
    given = ["a=True", "b=12", 'c=["x"]', "d=text", "e=x=y", "f="]
    assert parse_data(given) == {"a": True, "b": 12, "c": ["x"], "d": "text", "e": "x=y", "f": ""}
    for wrong in ("novalue", "=value"):
        with pytest.raises(ValueError, match="is not KEY=VALUE"):
            parse_data([wrong])
