"""Every check of `gpuwright verify`, on every host of the inventory."""

from __future__ import annotations

import pytest

from tests.acceptance.conftest import Subject


def test_verdict(subject: Subject, check: str) -> None:
    """What is skipped on a host is skipped here, with its reason; unknown is a failure."""
    verdicts = subject.verdicts[check]
    wrong = [
        f"{v.subject}: {v.status}: {v.observed}; expected: {v.expected}. {v.meaning} {v.action}"
        for v in verdicts
        if v.status in ("fail", "unknown")
    ]
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)
    if all(verdict.status == "skip" for verdict in verdicts):
        pytest.skip(verdicts[0].observed)
