"""A run in several parts: steps that say what was expected and what came out, kept between calls, as JSON.

A machine may be lent for minutes at a time: a step that came out well is not done again by the next call, and one for
which too little of this call is left is left to the next.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Step:
    """A question and its answer: `observed` for people, `data` for other programs."""

    name: str
    expected: str
    observed: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    verdict: str = ""
    seconds: float = 0

    def say(self, line: str) -> None:
        """Show it at once: a call that is cut off has said as much as it knew."""
        self.observed.append(line)
        print(f"    {line}", flush=True)


class Skip(Exception):
    """What this machine has nothing to show for."""


class Later(Exception):
    """What this call has no time for any more."""


class Report:
    """All steps so far, in `path` for people, after `head`, and in `kept` for the next call.

    `until` is the time.monotonic() that this call has.
    """

    def __init__(self, path: Path, head: dict[str, Any], kept: Path, until: float) -> None:
        self.until = until
        self._path = path
        self._head = head
        self._kept = kept
        self._masks: dict[str, str] = {}
        old = json.loads(kept.read_text()) if kept.exists() else []
        self.steps = {step["name"]: Step(**step) for step in old}
        self.later: list[str] = []

    def mask(self, secret: str, name: str) -> None:
        """Write `name` wherever `secret` would be: a lent card's serial, a path of this machine."""
        self._masks[secret] = name

    def left(self) -> float:
        """Seconds of this call."""
        return self.until - time.monotonic()

    def step(
        self,
        name: str,
        expected: str,
        ask: Callable[[Step], bool],
        *,
        seconds: float = 0,
        again: bool = False,
    ) -> bool:
        """Ask and remember; True for a pass, of this call or an earlier one.

        It may take `seconds`, and is left to another call where there are fewer; `again`: asked by every call.
        """
        old = self.steps.get(name)
        if old and old.verdict in ("PASS", "SKIP") and not again:
            print(f"{old.verdict} {name} (earlier, {old.seconds} s)", flush=True)
            return old.verdict == "PASS"
        if self.left() < seconds:
            self.later.append(name)
            print(f"LATER {name}: wants {seconds:.0f} s, {self.left():.0f} s are left", flush=True)
            return False
        step = Step(name, expected)
        print(f"\n{name}: {expected}", flush=True)
        began = time.monotonic()
        try:
            step.verdict = "PASS" if ask(step) else "FAIL"
        except Skip as reason:
            step.verdict = "SKIP"
            step.say(str(reason))
        except Later as reason:
            self.later.append(name)
            print(f"LATER {name}: {reason}", flush=True)
            return False
        except Exception:
            step.verdict = "FAIL"
            for line in traceback.format_exc().splitlines()[-12:]:
                step.say(line)
        step.seconds = round(time.monotonic() - began, 1)
        print(f"{step.verdict} {name} ({step.seconds} s)", flush=True)
        self.steps[name] = step
        self._kept.write_text(json.dumps([asdict(each) for each in self.steps.values()]))
        self.write()
        return step.verdict == "PASS"

    def write(self) -> None:
        """The whole report, with what is masked masked."""
        document = {
            **self._head,
            "later": self.later,
            "steps": [asdict(step) for step in self.steps.values()],
        }
        text = json.dumps(document, indent=1) + "\n"
        for secret, name in sorted(self._masks.items(), key=lambda pair: -len(pair[0])):
            text = text.replace(secret, name)
        self._path.write_text(text)

    @property
    def code(self) -> int:
        """1 where a step failed, 75 where some are left for another call, else 0."""
        if any(step.verdict == "FAIL" for step in self.steps.values()):
            return 1
        return 75 if self.later else 0
