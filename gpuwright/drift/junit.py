"""Drift as JUnit XML, which CI systems show: a change is a failure, what could not be judged is an error."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from gpuwright.drift.model import FleetDrift, HostDrift, OperationDrift

HOST_CASE = "host"
# What XML 1.0 cannot hold (section 2.2, Char).
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(drift: FleetDrift) -> str:
    """One test suite for each host, one case for each operation, and one called `host` for a host's other reasons."""
    root = ElementTree.Element("testsuites", name="gpuwright drift")
    for host in drift.hosts:
        cases = [_case(host, operation) for operation in host.operations]
        rest = [reason for reason in host.reasons if not _of(host, reason)]
        if rest or not cases:
            cases.append(_problem(_element(host, HOST_CASE), "error", rest or ["no operation was judged"]))
        suite = ElementTree.SubElement(root, "testsuite", name=_xml(host.host))
        suite.extend(cases)
        for count, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
            suite.set(count, str(len(list(suite.iter(tag)))))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


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
    return ElementTree.Element("testcase", classname=_xml(host.host), name=_xml(name))


def _problem(case: ElementTree.Element, kind: str, lines: list[str]) -> ElementTree.Element:
    ElementTree.SubElement(case, kind, message=_xml(lines[0] if lines else "")).text = _xml("\n".join(lines))
    return case


def _xml(text: str) -> str:
    return _NOT_XML.sub("?", text)
