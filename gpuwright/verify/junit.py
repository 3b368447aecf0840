"""Verdicts as JUnit XML: a suite per host, a case per verdict."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree import ElementTree

from gpuwright.junit import clean, document
from gpuwright.verify.verdict import HostReport, Verdict


def to_xml(reports: Iterable[HostReport]) -> str:
    """The document: `fail` is a failure, `unknown` and a host without verdicts are errors, `skip` is skipped."""
    root = ElementTree.Element("testsuites", name="gpuwright verify")
    for report in reports:
        suite = ElementTree.SubElement(
            root, "testsuite", name=clean(report.host), time=f"{report.seconds:.2f}"
        )
        for verdict in report.verdicts:
            _case(suite, report.host, verdict)
        for refusal in report.refusals:
            case = ElementTree.SubElement(suite, "testcase", classname=clean(report.host), name="host.judged")
            ElementTree.SubElement(case, "error", message=clean(str(refusal)))
    return document(root)


def _case(suite: ElementTree.Element, host: str, verdict: Verdict) -> None:
    name = clean(f"{verdict.check} {verdict.subject}")
    case = ElementTree.SubElement(suite, "testcase", classname=clean(host), name=name)
    tag = {"fail": "failure", "unknown": "error", "skip": "skipped"}.get(verdict.status)
    if tag is not None:
        wanted = f"; expected: {verdict.expected}" if verdict.expected else ""
        element = ElementTree.SubElement(case, tag, message=clean(f"{verdict.observed}{wanted}"))
        element.text = clean(" ".join(filter(None, (verdict.meaning, verdict.action)))) or None
