"""Drift as JUnit XML: a change is a failure, what could not be judged is an error."""

from __future__ import annotations

from xml.etree import ElementTree

from gpuwright.drift.model import FleetDrift, HostDrift, OperationDrift
from gpuwright.junit import clean, document

HOST_CASE = "host"


def to_junit(drift: FleetDrift) -> str:
    """One test suite for each host, one case for each operation, and one called `host` for a host's other reasons."""
    root = ElementTree.Element("testsuites", name="gpuwright drift")
    for host in drift.hosts:
        cases = [_case(host, operation) for operation in host.operations]
        rest = [reason for reason in host.reasons if not _of(host, reason)]
        if rest or not cases:
            cases.append(_problem(_element(host, HOST_CASE), "error", rest or ["no operation was judged"]))
        ElementTree.SubElement(root, "testsuite", name=clean(host.host)).extend(cases)
    return document(root)


def _case(host: HostDrift, operation: OperationDrift) -> ElementTree.Element:
    case = _element(host, operation.name)
    lines = [*operation.summary, *(diff.diff for diff in operation.diffs)]
    if operation.status == "unknown":
        reasons = [reason for reason in host.reasons if reason.startswith(f"{operation.name}: ")]
        return _problem(case, "error", [*reasons, *lines])
    return _problem(case, "failure", lines) if operation.status == "change" else case


def _of(host: HostDrift, reason: str) -> bool:
    """Whether an operation's own case has `reason` already."""
    unknown = (each for each in host.operations if each.status == "unknown")
    return any(reason.startswith(f"{each.name}: ") for each in unknown)


def _element(host: HostDrift, name: str) -> ElementTree.Element:
    return ElementTree.Element("testcase", classname=clean(host.host), name=clean(name))


def _problem(case: ElementTree.Element, kind: str, lines: list[str]) -> ElementTree.Element:
    ElementTree.SubElement(case, kind, message=clean(lines[0] if lines else "")).text = clean(
        "\n".join(lines)
    )
    return case
