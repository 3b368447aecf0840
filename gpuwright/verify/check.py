"""What a check is: a question with a name, asked of readings and a plan, answered by findings.

A check is written as a generator of `Finding`s, one per subject; `@check` registers it and gives its findings a
name, a severity and a source. A check that finds nothing to ask about is skipped with that as the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gpuwright.plan import HostPlan
from gpuwright.verify.readings import Readings
from gpuwright.verify.verdict import Severity, Status, Verdict

DEPLOY = "Run the deploy again: it repairs this."
UNREAD = "could not be read"


@dataclass(frozen=True)
class Finding:
    """A verdict without the parts that its check knows."""

    subject: str
    status: Status
    observed: str
    expected: str
    meaning: str
    action: str


Question = Callable[[Readings, HostPlan], Iterator[Finding]]


@dataclass(frozen=True)
class Check:
    """A registered question; `title` is the first line of its docstring."""

    name: str
    severity: Severity
    source: str
    title: str
    ask: Question

    def judge(self, readings: Readings, plan: HostPlan) -> tuple[Verdict, ...]:
        """The verdicts on one host, at least one."""
        found = tuple(self.ask(readings, plan)) or (
            Finding("host", "skip", "nothing of this kind is declared", "", "", ""),
        )
        return tuple(
            Verdict(
                self.name,
                f.subject,
                f.status,
                f.observed,
                f.expected,
                f.meaning,
                f.action,
                self.source,
                self.severity,
            )
            for f in found
        )


CHECKS: dict[str, Check] = {}


def check(name: str, *, severity: Severity, source: str) -> Callable[[Question], Question]:
    """Register a question as the check `name`; `source` says where the expectation is known from."""

    def register(question: Question) -> Question:
        if name in CHECKS:
            raise ValueError(f"two checks are called {name}")
        title = (question.__doc__ or "").partition("\n")[0]
        CHECKS[name] = Check(name, severity, source, title, question)
        return question

    return register


def compare(
    subject: str, observed: str | None, expected: str, meaning: str, action: str, *, good: bool | None = None
) -> Finding:
    """Pass where `good`, or where it is not given and both texts are equal; unknown where `observed` is None."""
    if observed is None:
        return unknown(subject, UNREAD, expected)
    if observed == expected if good is None else good:
        return Finding(subject, "pass", observed, expected, "", "")
    return Finding(subject, "fail", observed, expected, meaning, action)


def unknown(subject: str, observed: str, expected: str, action: str = "") -> Finding:
    """What nobody could tell; it is never fine."""
    meaning = "Nobody can say whether this is as declared."
    return Finding(
        subject,
        "unknown",
        observed,
        expected,
        meaning,
        action or "Look at the host by hand, then verify again.",
    )


def skipped(subject: str, reason: str, expected: str = "") -> Finding:
    """What cannot be asked of this host, with the reason; it is never a pass."""
    return Finding(subject, "skip", reason, expected, "", "")
