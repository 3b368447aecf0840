"""JUnit XML, which CI systems show: what its documents share."""

from __future__ import annotations

import re
from xml.etree import ElementTree

# What XML 1.0 cannot hold, escaped or not (section 2.2, Char).
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_COUNTS = (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped"))


def document(root: ElementTree.Element) -> str:
    """`root` with its suites as a text, each suite with the numbers of its cases by outcome."""
    for suite in root:
        for count, tag in _COUNTS:
            suite.set(count, str(len(list(suite.iter(tag)))))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def clean(text: str) -> str:
    """`text` with a question mark for every character that XML cannot hold.

    >>> clean("\\x1b[31mred")
    '?[31mred'
    """
    return _NOT_XML.sub("?", text)
