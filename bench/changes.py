"""Do drift and verify see what people do to a host by hand, and does one normal run repair it?

python -m bench.changes                  # all changes, on a host of its own (a quarter of an hour)
python -m bench.changes --only model     # those with this word in their name
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.incidents import INCIDENTS, Incident
from bench.target import Judgement, Target, target
from gpuwright.errors import GpuwrightError

# Of 25 changes 23 must be named.
NAMED_SHARE = 23 / 25
NOT_MADE = "the change itself failed"
ERRORS = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class Outcome:
    """What came of one change: the names that were red, of those that may take the credit, and the run after it.

    `repaired` is `yes`, `named only` where a run rightly leaves it, or why not: what is still red, what failed.
    """

    change: str
    drift: tuple[str, ...]
    verify: tuple[str, ...]
    repaired: str
    left: str
    seconds: float

    @property
    def named(self) -> bool:
        """Whether drift or verify called it by a name that fits."""
        return bool(self.drift or self.verify)

    @property
    def good(self) -> bool:
        """Whether it was missed, which the share counts, or repaired, or named and rightly left."""
        if not self.named:
            return not self.repaired.startswith(NOT_MADE)
        return self.repaired in ("yes", "named only")


def main(
    only: Annotated[str, typer.Option(metavar="WORD", help="Changes with this word in their name.")] = "",
    inventory: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Use the first host of this inventory, a sandbox host that is there already.",
            show_default="a host of its own, removed at the end",
        ),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the outcomes there as JSON.")
    ] = None,
) -> None:
    """Prove that drift and verify see what people do to a host by hand, and that a run repairs it.

    On a converged sandbox host one change after the other is made, as root and past SSH.
    Then `gpuwright drift` and `gpuwright verify` are asked: only names that fit the change count.
    One normal run of deploy.py follows, and both are asked again.
    What is red even then is undone by hand, so that the next change meets a converged host.

    Exit code 0: at least 23 of 25 were named, and a run repaired what was named and is a run's to repair.
    """
    chosen = [each for each in INCIDENTS if only.lower() in each.name.lower()]
    if not chosen:
        raise typer.BadParameter(f"no change has {only} in its name", param_hint="--only")
    outcomes: list[Outcome] = []
    try:
        with target(inventory) as host:
            for outcome in _progress(host, chosen):
                outcomes.append(outcome)
    except GpuwrightError as error:
        ERRORS.print(str(error), style="red", markup=False, soft_wrap=True)
    _show(outcomes)
    if json_file is not None:
        json_file.write_text(
            json.dumps([asdict(each) for each in outcomes], indent=1) + "\n", encoding="utf-8"
        )
    enough = sum(each.named for each in outcomes) >= NAMED_SHARE * len(chosen)
    raise typer.Exit(0 if len(outcomes) == len(chosen) and enough and all(o.good for o in outcomes) else 1)


def _progress(host: Target, chosen: list[Incident]) -> Iterator[Outcome]:
    """Converge the host, then one change after the other, each with a line or a step of the bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=ERRORS, transient=True, disable=not ERRORS.is_terminal) as progress:
        task = progress.add_task(f"converging {host.name}", total=len(chosen))
        _converge(host)
        for number, incident in enumerate(chosen, 1):
            progress.update(task, description=incident.name)
            outcome = _try(host, incident)
            progress.advance(task)
            word = "named" if outcome.named else "MISSED"
            ERRORS.print(f"[{number:>2}/{len(chosen)}] {incident.name}: {word}; repaired: {outcome.repaired}")
            yield outcome


def _try(host: Target, incident: Incident) -> Outcome:
    """One change. Raises GpuwrightError where the host does not come back from it."""
    began = time.monotonic()
    made = host.by_hand(incident.do)
    if made.returncode != 0:
        host.by_hand(incident.undo)
        _converge(host)
        seconds = round(time.monotonic() - began, 1)
        return Outcome(incident.name, (), (), f"{NOT_MADE}: {made.stderr.strip()[-300:]}", "", seconds)
    red = host.judge()
    succeeded, said = host.deploy()
    after = host.judge()
    repaired = "yes" if succeeded and after.clean else _still_red(after, succeeded, said)
    if repaired != "yes":
        host.by_hand(incident.undo)
        _converge(host)
        repaired = "named only" if incident.left else repaired
    return Outcome(
        incident.name,
        tuple(sorted(red.drift.intersection(incident.named))),
        tuple(sorted(red.verify.intersection(incident.named))),
        repaired,
        incident.left if repaired == "named only" else "",
        round(time.monotonic() - began, 1),
    )


def _converge(host: Target) -> None:
    """A run, and nothing red after it. Raises GpuwrightError otherwise."""
    succeeded, said = host.deploy()
    after = host.judge()
    if not succeeded or not after.clean:
        raise GpuwrightError.of(
            f"host {host.name}",
            _still_red(after, succeeded, said),
            "a converged host before a change",
            "Make a new one: gpuwright sandbox down, then up.",
        )


def _still_red(after: Judgement, succeeded: bool, said: str) -> str:
    names = ", ".join(sorted(after.drift | after.verify)) or "nothing"
    if succeeded:
        return f"no: {names} red"
    errors = [line.strip() for line in said.splitlines() if "required:" in line or "Error" in line]
    return f"no: the run failed ({' '.join(errors)[:300]}); {names} red"


def _show(outcomes: list[Outcome]) -> None:
    """The table, what is named only and why, and the totals."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    table = Table("change", "drift names", "verify names", "repaired by a run")
    table.add_column("s", justify="right")
    for each in outcomes:
        style = None if each.named and each.good else "bold red"
        drift, verify = ("\n".join(names) or "-" for names in (each.drift, each.verify))
        table.add_row(each.change, drift, verify, each.repaired, f"{each.seconds:.0f}", style=style)
    console.print(table)
    for each in outcomes:
        if each.left:
            console.print(f"named only: {each.change}: {each.left}", soft_wrap=True, markup=False)
    missed = ", ".join(each.change for each in outcomes if not each.named) or "none"
    repaired = sum(each.repaired == "yes" for each in outcomes)
    left = sum(each.repaired == "named only" for each in outcomes)
    console.print(
        f"named {sum(each.named for each in outcomes)} of {len(outcomes)}; missed: {missed}", soft_wrap=True
    )
    console.print(f"repaired by one normal run {repaired}, named only {left}, of {len(outcomes)}")


if __name__ == "__main__":
    try:
        typer.run(main)
    except KeyboardInterrupt:
        sys.exit(130)
