"""Do NVIDIA's modules build where the catalogue says so? Debian's packages on Debian's kernels, for real.

python -m bench.dkms predict        # what the catalogue's rules say of today's packages and kernels (a minute)
python -m bench.dkms build          # build what has no result yet (3 to 10 minutes each); stop and go on at will
python -m bench.dkms                # predicted, built, seconds
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from bench.dkms_host import ARCH, Host, builders, now
from bench.dkms_rows import (
    Key,
    Result,
    Row,
    add_result,
    load_results,
    load_rows,
    merged,
    save_rows,
)
from gpuwright import catalog
from gpuwright.catalog.nvidia_driver import Modules
from gpuwright.catalog.version import numbers
from gpuwright.errors import GpuwrightError

OSES = ("debian 13", "debian 12")
# Beside the catalogue's: what else of NVIDIA's modules the archive may have.
MORE_PACKAGES = ("nvidia-tesla-535-kernel-dkms", "nvidia-tesla-535-open-kernel-dkms")
# The newest kernel that trixie still has from before pci_resize_resource()'s change: the counter-proof for open
# modules, which build on none that a metapackage names.
BEFORE = {"debian 13": "linux-headers-6.12.94+deb13-amd64"}
FLAVOURS = ("ga", "backports", "hwe")
WORD = {True: "builds", False: "fails"}
ERRORS = Console(stderr=True, highlight=False)

app = typer.Typer(add_completion=False)


@app.callback(invoke_without_command=True)
def show(
    context: typer.Context,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write rows, predictions and results there.")
    ] = None,
) -> None:
    """Prove the catalogue's build rules: each package of NVIDIA's modules that Debian has, on its kernels.

    Predictions are in bench/dkms/predictions.toml and stay as they were written; results are in results.json.
    A row agrees where the build came to what its last prediction says; one that a corrected rule predicts anew says so.

    Exit code 0: every row that was built agrees. Rows that were not are counted, and `build` goes on with them.
    """
    if context.invoked_subcommand is not None:
        return
    rows, results = load_rows(), load_results()
    _show(rows, results)
    if json_file is not None:
        document = [_document(row, results.get(row.key)) for row in rows]
        json_file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    raise typer.Exit(1 if any(disagrees(row, results.get(row.key)) for row in rows) else 0)


@app.command()
def predict(
    because: Annotated[
        str, typer.Option(help="The corrected rule and its evidence, where the catalogue changed its mind.")
    ] = "",
) -> None:
    """Write down what the catalogue says of the packages and kernels that Debian has today.

    Commit the file before building. A prediction that is there is never changed: where a rule was corrected, the
    row gets a second one with --because.
    """
    try:
        with ERRORS.status("asking apt on a host of each release ..."), builders(OSES) as hosts:
            offered = [row for host in hosts.values() for row in _offered(host)]
        before = load_rows()
        rules = catalog.load().nvidia.build_rules
        rows = merged(before, offered, set(load_results()), rules, now(), because)
    except GpuwrightError as error:
        _fail(error)
    save_rows(rows)
    fresh = len({row.key for row in rows} - {row.key for row in before})
    ERRORS.print(f"{len(rows)} rows, {fresh} of them new. Commit bench/dkms/predictions.toml, then build.")


@app.command()
def build(
    only: Annotated[str, typer.Option(metavar="WORD", help="Rows with this word in package or kernel.")] = "",
    minutes: Annotated[
        float | None, typer.Option(metavar="N", help="Begin no further build after so long.", min=0)
    ] = None,
    logs: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Keep each build's make.log there.")
    ] = None,
) -> None:
    """Build what has no result yet, the most telling rows first, each result written at once.

    Hosts are made for it, one a release, and removed in the end; headers are installed, kernels are not. A build that
    the machine or the archive ended has no result: the next call tries it again.
    """
    results = load_results()
    todo = [row for row in load_rows() if row.key not in results and only in str(row)]
    if not todo:
        ERRORS.print("Nothing to build: every row has a result, or --only leaves none.")
        return
    if logs is not None:
        logs.mkdir(parents=True, exist_ok=True)
    began, failed = time.monotonic(), 0
    try:
        with builders([os for os in OSES if any(row.os == os for row in todo)]) as hosts:
            for number, row in enumerate(todo, 1):
                if minutes is not None and time.monotonic() - began > minutes * 60:
                    break
                with ERRORS.status(f"[{number}/{len(todo)}] {row} ..."):
                    failed += not _built(hosts[row.os], row, logs)
    except GpuwrightError as error:
        _fail(error)
    raise typer.Exit(1 if failed else 0)


def disagrees(row: Row, result: Result | None) -> bool:
    """Whether a build came to something else than predicted; one that was not tried does not."""
    return result is not None and result.builds != row.last.builds


def _built(host: Host, row: Row, logs: Path | None) -> bool:
    """Build one row and write its result; False where there is none."""
    try:
        result = host.build(row, logs)
    except GpuwrightError as error:
        ERRORS.print(str(error), style="red", markup=False, soft_wrap=True)
        return False
    add_result(result)
    word = "NOT AS PREDICTED" if disagrees(row, result) else "as predicted"
    ERRORS.print(f"{row}: {WORD[result.builds]}, {word} ({result.seconds:.0f} s)", soft_wrap=True)
    return True


def _offered(host: Host) -> list[Row]:
    """The matrix of a release: every package that apt may take, on every kernel of every suite."""
    rows = catalog.load()
    ours = [name for each in rows.nvidia.sets(host.os, "distribution") for name in each.packages]
    packages = dict.fromkeys([*(name for name in ours if name.endswith("-dkms")), *MORE_PACKAGES])
    kernels = _kernels(host)
    found: list[Row] = []
    for package in packages:
        modules: Modules = "open" if "-open-" in package else "proprietary"
        offers = host.offers(package)
        # The first that is no backport is what apt takes: it hides older ones of its suite and of the release.
        taken = [each for each in offers if not each.suite.endswith("-backports")][:1]
        for offer in taken + [each for each in offers if each.suite.endswith("-backports")]:
            for headers, version, suite in kernels:
                if headers in BEFORE.values() and modules != "open":
                    continue
                found.append(
                    Row(
                        os=host.os,
                        package=package,
                        version=offer.version,
                        package_suite=offer.suite,
                        modules=modules,
                        kernel=headers.removeprefix("linux-headers-"),
                        kernel_version=".".join(map(str, numbers(version))),
                        headers=headers,
                        headers_version=version,
                        kernel_suite=suite,
                    )
                )
    return found


def _kernels(host: Host) -> list[tuple[str, str, str]]:
    """Headers' package, version and suite of each kernel that the catalogue's metapackages name."""
    found: dict[str, tuple[str, str, str]] = {}
    for row in catalog.load().kernels.offered(host.os):
        metapackage = row.packages(ARCH)[1]
        for offer in host.offers(metapackage) if row.flavour in FLAVOURS else ():
            headers = host.named_by(metapackage, offer.version)
            found[headers] = (headers, offer.version, offer.suite)
    if host.os in BEFORE:
        headers = BEFORE[host.os]
        for offer in host.offers(headers)[:1]:
            found[headers] = (headers, offer.version, offer.suite)
    return list(found.values())


def _show(rows: list[Row], results: dict[Key, Result]) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    table = Table("os", "package", "kernel", "from", "predicted", "built")
    table.add_column("s", justify="right")
    table.add_column("agrees")
    for row in rows:
        result = results.get(row.key)
        said = WORD[row.last.builds]
        if row.last.builds != row.prediction[0].builds:
            said += f" (first: {WORD[row.prediction[0].builds]})"
        built, seconds, agrees = "not built yet", "", ""
        if result is not None:
            built, seconds = WORD[result.builds], f"{result.seconds:.0f}"
            agrees = "NO" if disagrees(row, result) else "yes"
        style = "bold red" if agrees == "NO" else None if agrees else "dim"
        name = f"{row.package}\n{row.version}"
        table.add_row(row.os, name, row.kernel, row.kernel_suite, said, built, seconds, agrees, style=style)
    console.print(table)
    for line in dict.fromkeys(each.because for row in rows for each in row.prediction if each.because):
        console.print(f"rule corrected because {line}", soft_wrap=True, markup=False)
    for row in rows:
        result = results.get(row.key)
        if result is not None and disagrees(row, result):
            why = result.errors[0] if result.errors else f"{len(result.modules)} modules"
            console.print(f"disagrees: {row}: {why}", soft_wrap=True, markup=False)
    done = [(row, results[row.key]) for row in rows if row.key in results]
    agreed = sum(not disagrees(row, result) for row, result in done)
    first = sum(row.prediction[0].builds == result.builds for row, result in done)
    console.print(
        f"{len(done)} of {len(rows)} built: {agreed} agree, {first} of them with their first prediction; "
        f"{sum(result.seconds for _, result in done) / 60:.0f} minutes of building"
    )


def _document(row: Row, result: Result | None) -> dict[str, object]:
    built = result.model_dump() if result else None
    return {
        **row.model_dump(),
        "result": built,
        "agrees": None if result is None else not disagrees(row, result),
    }


def _fail(error: GpuwrightError) -> NoReturn:
    ERRORS.print(str(error), style="red", markup=False, soft_wrap=True)
    raise typer.Exit(1) from error


if __name__ == "__main__":
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
