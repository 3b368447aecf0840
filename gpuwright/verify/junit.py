"""Verdicts as JUnit XML: a suite per host, a case per verdict."""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree import ElementTree

from gpuwright.verify.verdict import HostReport, Verdict

# What XML 1.0 cannot hold, escaped or not.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_xml(reports: Iterable[HostReport]) -> str:
    """The document: `fail` is a failure, `unknown` and a host without verdicts are errors, `skip` is skipped."""
    root = ElementTree.Element("testsuites", name="gpuwright verify")
    for report in reports:
        suite = ElementTree.SubElement(root, "testsuite", name=report.host, time=f"{report.seconds:.2f}")
        for verdict in report.verdicts:
            _case(suite, report.host, verdict)
        for refusal in report.refusals:
            case = ElementTree.SubElement(suite, "testcase", classname=report.host, name="host.judged")
            ElementTree.SubElement(case, "error", message=_clean(str(refusal)))
        for kind, tag in (
            ("tests", "testcase"),
            ("failures", "failure"),
            ("errors", "error"),
            ("skipped", "skipped"),
        ):
            suite.set(kind, str(len(list(suite.iter(tag)))))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ElementTree.Element, host: str, verdict: Verdict) -> None:
    name = _clean(f"{verdict.check} {verdict.subject}")
    case = ElementTree.SubElement(suite, "testcase", classname=host, name=name)
    tag = {"fail": "failure", "unknown": "error", "skip": "skipped"}.get(verdict.status)
    if tag is not None:
        wanted = f"; expected: {verdict.expected}" if verdict.expected else ""
        element = ElementTree.SubElement(case, tag, message=_clean(f"{verdict.observed}{wanted}"))
        element.text = _clean(" ".join(filter(None, (verdict.meaning, verdict.action)))) or None


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("�", text)
