"""`gpuwright verify`: choose hosts, show progress, print, and say how it ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gpuwright.errors import GpuwrightError
from gpuwright.inventory import Inventory, load
from gpuwright.selection import chosen
from gpuwright.verify import junit, view
from gpuwright.verify.fleet import verify_all
from gpuwright.verify.verdict import HostReport, exit_code


def run(
    inventory: Path, limit: tuple[str, ...], jobs: int, fast: bool, junitxml: Path | None, as_json: bool
) -> int:
    """Verify the hosts of an inventory file and print what was found; the exit code says it in a number."""
    loaded = load(inventory)
    names = chosen(loaded, limit)
    reports = _verify(loaded, names, fast, jobs)
    if junitxml is not None:
        _write(junitxml, junit.to_xml(reports))
    if as_json:
        sys.stdout.write(json.dumps(view.to_json(loaded.path, reports), ensure_ascii=False) + "\n")
        return exit_code(reports)
    console = Console()
    for report in reports:
        console.print(view.render(report), highlight=False)
        console.print()
    if len(reports) > 1:
        console.print(view.summary(reports), highlight=False)
    return exit_code(reports)


def _verify(inventory: Inventory, names: tuple[str, ...], fast: bool, jobs: int) -> list[HostReport]:
    """Reports in the inventory's order, with a bar on a terminal while they come."""
    reports: dict[str, HostReport] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("verify", total=len(names))
        for report in verify_all(inventory.path, names, fast, jobs):
            reports[report.host] = report
            progress.update(task, advance=1, description=f"verify: {report.host} {report.outcome}")
    return [reports[name] for name in names]


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise GpuwrightError.of(
            f"file {path}",
            f"cannot be written ({error.strerror})",
            "a path in a directory that is there",
            "Correct --junitxml.",
        ) from error
