"""What verify says: a verdict per check and subject, a report per host, and one exit code for all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from gpuwright.errors import Refusal

Status = Literal["pass", "fail", "unknown", "skip"]
Severity = Literal["critical", "major", "minor"]
Outcome = Literal["as declared", "differs", "could not judge"]

AS_DECLARED = 0
COULD_NOT_JUDGE = 1
DIFFERS = 2

_WORST_FIRST: tuple[Status, ...] = ("fail", "unknown", "skip", "pass")
_SEVERITIES: tuple[Severity, ...] = ("critical", "major", "minor")


@dataclass(frozen=True)
class Verdict:
    """One check of one subject. What could not be read is `unknown`, which never counts as fine.

    `meaning` (what follows for people) and `action` are empty where nothing is to be done. `source` says where
    `expected` is known from.
    """

    check: str
    subject: str
    status: Status
    observed: str
    expected: str
    meaning: str
    action: str
    source: str
    severity: Severity

    @property
    def rank(self) -> tuple[int, int]:
        """Sorts the worst first: by status, then by severity."""
        return _WORST_FIRST.index(self.status), _SEVERITIES.index(self.severity)


@dataclass(frozen=True)
class HostReport:
    """A host's verdicts, or the refusals that say why there are none; `seconds` is the time that it took."""

    host: str
    verdicts: tuple[Verdict, ...]
    refusals: tuple[Refusal, ...]
    seconds: float

    @property
    def outcome(self) -> Outcome:
        """A sure difference is one whatever else is unknown; no verdict at all is no judgement."""
        statuses = {verdict.status for verdict in self.verdicts}
        if self.refusals or not self.verdicts:
            return "could not judge"
        if "fail" in statuses:
            return "differs"
        return "could not judge" if "unknown" in statuses else "as declared"


def exit_code(reports: Iterable[HostReport]) -> int:
    """1 where any host could not be judged, else 2 where any differs, else 0. No host is no judgement."""
    outcomes = {report.outcome for report in reports}
    if not outcomes or "could not judge" in outcomes:
        return COULD_NOT_JUDGE
    return DIFFERS if "differs" in outcomes else AS_DECLARED
