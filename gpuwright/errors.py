"""What goes wrong, said in four parts: the subject, what was observed, what is required, the remedy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Refusal:
    """One reason why a host or an input is not accepted. Several are collected and shown together.

    >>> print(Refusal("host a", "runs Alpine 3.20", "Debian 12 or 13", "reinstall it"))
    host a: runs Alpine 3.20; required: Debian 12 or 13. reinstall it
    """

    subject: str
    observed: str
    required: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.observed}; required: {self.required}. {self.remedy}"


class GpuwrightError(Exception):
    """An error that the command line shows without a traceback, as its refusals."""

    def __init__(self, *refusals: Refusal) -> None:
        self.refusals = refusals
        super().__init__("\n".join(str(refusal) for refusal in refusals))

    @classmethod
    def of(cls, subject: str, observed: str, required: str, remedy: str) -> GpuwrightError:
        """The usual case: exactly one refusal."""
        return cls(Refusal(subject, observed, required, remedy))
