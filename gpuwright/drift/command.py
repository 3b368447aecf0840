"""`gpuwright drift`: asks, and shows what came of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from gpuwright.drift.fleet import judge
from gpuwright.drift.junit import to_junit
from gpuwright.drift.model import FleetDrift, HostDrift
from gpuwright.drift.view import show
from gpuwright.errors import GpuwrightError
from gpuwright.inventory import load
from gpuwright.selection import chosen


def run(
    inventory: Path,
    limit: tuple[str, ...],
    data: Mapping[str, object],
    jobs: int,
    timeout_s: float,
    junitxml: Path | None,
    as_json: bool,
) -> int:
    """Judge hosts, print the answer, and give the exit code.

    GpuwrightError when the inventory cannot be read or has no host; typer.BadParameter for an unknown host.
    """
    loaded = load(inventory)
    judged: dict[str, HostDrift] = {}
    names = chosen(loaded, limit)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("drift", total=len(names))
        for host in judge(loaded, names, data, jobs, timeout_s):
            judged[host.host] = host
            progress.update(task, advance=1, description=f"drift: {host.host}")
    drift = FleetDrift(str(inventory), tuple(judged[name] for name in names))
    if junitxml is not None:
        try:
            junitxml.write_text(to_junit(drift), encoding="utf-8")
        except OSError as error:
            raise GpuwrightError.of(
                f"--junitxml {junitxml}",
                error.strerror or str(error),
                "a path that can be written",
                "Correct it.",
            ) from error
    if as_json:
        sys.stdout.write(json.dumps(drift.to_json(), ensure_ascii=False) + "\n")
    else:
        show(drift, Console())
    return drift.exit_code
