"""How long does `gpuwright kernel` take? The configuration alone, and a kernel with its packages and repository.

python -m bench.kernel_build                  # reduced kernel of Debian 13; the room it takes is printed too
python -m bench.kernel_build --full --jobs 64 # the whole Debian configuration: hours on few processors
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gpuwright.errors import GpuwrightError

PROGRAM = str(Path(sys.executable).parent / "gpuwright")

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Measured:
    """One command: its seconds, the processors' load before it, and the size of what it made."""

    what: str
    seconds: float
    load_before: float
    megabytes: float


@app.command()
def main(
    base: Annotated[str, typer.Option(help="debian12 or debian13.")] = "debian13",
    full: Annotated[bool, typer.Option("--full", help="The distribution's whole configuration.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Compilers at a time.")] = len(os.sched_getaffinity(0)),
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the result there.")
    ] = None,
) -> None:
    """Time both commands, each from nothing: container, apt, unpacking and all."""
    what = ["--base", base, "--enable", "p2p", *([] if full else ["--reduced"])]
    try:
        with TemporaryDirectory(prefix="gpuwright-kernel-") as name:
            rows = [
                _measure("config", ["config", *what], Path(name)),
                _measure(
                    f"build, {jobs} jobs", ["build", *what, "--jobs", str(jobs), "--output", name], Path(name)
                ),
            ]
    except GpuwrightError as error:
        Console(stderr=True).print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error
    table = Table("gpuwright kernel", "seconds", "load before", "packages, MB", title=" ".join(what))
    for row in rows:
        table.add_row(row.what, f"{row.seconds:.0f}", f"{row.load_before:.1f}", f"{row.megabytes:.0f}")
    Console().print(table)
    if json_file is not None:
        document = {"base": base, "full": full, "jobs": jobs, "rows": [asdict(row) for row in rows]}
        json_file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _measure(what: str, words: list[str], output: Path) -> Measured:
    load = os.getloadavg()[0]
    began = time.monotonic()
    done = subprocess.run([PROGRAM, "kernel", *words], stdout=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise GpuwrightError.of(
            f"gpuwright kernel {what}", f"exit code {done.returncode}", "0", "Its words are above."
        )
    size = sum(path.stat().st_size for path in output.rglob("*.deb")) / 1e6
    return Measured(what, round(time.monotonic() - began, 1), round(load, 1), round(size, 1))


if __name__ == "__main__":
    app()
