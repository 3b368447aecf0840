"""The end of bin/demo: a question, the model's answer, and where the seconds went."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gpuwright.errors import GpuwrightError
from gpuwright.paths import state_dir

console = Console()


@dataclass(frozen=True)
class Answer:
    """What `gpuwright ask --json` prints: seconds from the request to the first token and to the last."""

    question: str
    answer: str
    model: str
    first_token_s: float
    total_s: float
    tokens_per_second: float | None


def main(start: str, began: float) -> None:
    """Show what bin/demo left in the state directory.

    `start` says what the run began with, at `began` seconds since the epoch.
    """
    directory = state_dir()
    answer = read_answer(directory / "answer.json")
    answered = (directory / "answer.json").stat().st_mtime
    wall = answered - answer.total_s + answer.first_token_s - began
    timings = read_timings(directory / "timings.json")
    console.print()
    console.print(Text("Question  ", style="bold").append(Text(answer.question, style="not bold")))
    box = Panel(Text(answer.answer.strip()), title=answer.model, title_align="left", expand=False)
    console.print(Padding(box, (0, 0, 1, 10)))
    for host, roles in timings.items():
        console.print(seconds_table(host, start, roles, answer, wall))


def seconds_table(host: str, start: str, roles: dict[str, float], answer: Answer, wall: float) -> Table:
    """Seconds from the start of the deploy to the first token, one row per role in the order they ran.

    `wall` is measured from outside; what the roles do not account for has a row of its own.
    """
    table = Table(
        "step", title=f"{host}: from {start} to the first token", title_justify="left", show_footer=True
    )
    table.columns[0].footer = "in all"
    table.add_column("seconds", justify="right", footer=f"{wall:.1f}")
    for role, seconds in roles.items():
        table.add_row(role, f"{seconds:.1f}")
    rest = wall - sum(roles.values()) - answer.first_token_s
    table.add_row("starting programs, connecting, planning", f"{rest:.1f}")
    table.add_row("first token of the answer", f"{answer.first_token_s:.1f}")
    return table


def read_answer(path: Path) -> Answer:
    """The answer file; GpuwrightError when `ask` left none or another shape."""
    try:
        found = json.loads(path.read_text())
        rate = found.get("tokens_per_second")
        return Answer(
            question=str(found["question"]),
            answer=str(found["answer"]),
            model=str(found["model"]),
            first_token_s=float(found["first_token_s"]),
            total_s=float(found["total_s"]),
            tokens_per_second=None if rate is None else float(rate),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(path, error) from error


def read_timings(path: Path) -> dict[str, dict[str, float]]:
    """Seconds per host and role, as deploy.py measured them."""
    try:
        found = json.loads(path.read_text())
        return {
            str(host): {str(role): float(seconds) for role, seconds in roles.items()}
            for host, roles in found.items()
        }
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> GpuwrightError:
    return GpuwrightError.of(
        f"demo record {path}",
        f"cannot be read ({type(error).__name__}: {error})",
        "the file that bin/demo writes",
        "Run bin/demo.",
    )


if __name__ == "__main__":
    try:
        main(sys.argv[1], float(sys.argv[2]))
    except GpuwrightError as refusal:
        Console(stderr=True).print(str(refusal), style="red", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(1) from refusal
