"""The build matrix: what is predicted is what the catalogue says, and what was built agrees with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench import dkms, dkms_rows
from bench.dkms_host import first_errors, last_line
from bench.dkms_rows import Result, Row, add_result, load_results, load_rows, merged, predicted, save_rows
from gpuwright import catalog
from gpuwright.catalog.nvidia_driver import BuildRule
from gpuwright.errors import GpuwrightError
from gpuwright.plan.nvidia.choice import Site, choose
from gpuwright.plan.nvidia.window import Window

CATALOG = catalog.load()
RULES = CATALOG.nvidia.build_rules
ROWS = load_rows()
RESULTS = load_results()
MEASURED = [row for row in ROWS if row.key in RESULTS]
# What a plan may install, with its branch; the bench has other versions as well, and packages that no plan takes.
PLANNED = [
    (row, offer.first)
    for row in ROWS
    for offer in CATALOG.nvidia.sets(row.os, "distribution")
    if row.package in offer.packages and row.version.startswith(offer.version)
]
RULE = BuildRule(
    name="the fourth argument", modules="open", kernels=("6.12.100",), drivers=("580",), source="x"
)
COPING = RULE.model_copy(update={"drivers": ("550",)})
MAKE_LOG = """\
DKMS (dkms-3.2.2) make.log for nvidia-current-open/550.163.01 for kernel 6.12.117+deb13-amd64 (x86_64)
Sat Nov 21 11:31:00 UTC 2026

Building module(s)
# command: make -j2 modules KERNEL_UNAME=6.12.117+deb13-amd64
/var/lib/dkms/nvidia-current-open/550.163.01/build/nvidia/nv-pci.c:237:5: error: too few arguments to function
/var/lib/dkms/nvidia-current-open/550.163.01/build/nvidia/nv-pci.c:237:5: error: too few arguments to function
make: *** [Makefile:115: modules] Error 2

# exit code: 2
# elapsed time: 00:01:13
----------------------------------------------------------------
"""


def row(kernel_version: str = "6.12.117", modules: str = "open") -> Row:
    return Row.model_validate(
        {
            "os": "debian 13",
            "package": "nvidia-open-kernel-dkms",
            "version": "550.163.01-2",
            "package_suite": "trixie",
            "modules": modules,
            "kernel": f"{kernel_version}+deb13-amd64",
            "kernel_version": kernel_version,
            "headers": f"linux-headers-{kernel_version}+deb13-amd64",
            "headers_version": f"{kernel_version}-1",
            "kernel_suite": "trixie-security",
        }
    )


def result(of: Row, builds: bool) -> Result:
    return Result(
        **dict(zip(("os", "package", "version", "kernel"), of.key, strict=True)),
        at="2026-11-22T00:00:00Z",
        builds=builds,
        seconds=200.0,
        last_line="x",
        dkms="3.2.2",
        compiler="gcc-14",
    )


@pytest.mark.parametrize("each", ROWS, ids=str)
def test_the_file_says_what_the_catalogue_says_today(each: Row) -> None:
    assert each.last.rules == predicted(each, RULES, "").rules


@pytest.mark.parametrize("each", MEASURED, ids=str)
def test_what_was_built_agrees_and_was_predicted_before(each: Row) -> None:
    measured = RESULTS[each.key]
    assert measured.builds == each.last.builds, measured.errors
    assert each.prediction[0].at < measured.at
    assert measured.errors or (measured.modules and measured.signer)


def test_every_result_has_a_row_and_every_correction_a_reason() -> None:
    assert set(RESULTS) <= {each.key for each in ROWS}
    assert len({each.key for each in ROWS}) == len(ROWS)
    for each in ROWS:
        assert not each.prediction[0].because
        assert all(later.because for later in each.prediction[1:])


@pytest.mark.parametrize(("each", "branch"), PLANNED, ids=str)
def test_the_planner_refuses_the_same(each: Row, branch: int) -> None:
    site = Site(
        os=each.os,
        arch="x86_64",
        debian_arch="amd64",
        kernel="amd64",
        kernel_version=each.kernel_version,
        kept="",
        secure_boot=False,
        nvlink5=False,
    )
    window = Window(branch, branch, True, (each.modules,), ())
    _, obstacles = choose(site, window, ("distribution",), CATALOG)
    assert any("do not build" in refusal.observed for refusal in obstacles) is not each.last.builds


def test_a_prediction_follows_flavour_kernel_and_driver() -> None:
    assert predicted(row(), [RULE], "").rules == ("the fourth argument",)
    assert predicted(row("6.12.94"), [RULE], "").builds
    assert predicted(row(modules="proprietary"), [RULE], "").builds
    assert predicted(row(), [COPING], "").builds


def test_a_prediction_stays_and_a_correction_stands_beside_it() -> None:
    (first,) = merged([], [row()], set(), [RULE], "2026-01-01", "")
    assert merged([first], [row()], set(), [RULE], "2026-01-02", "") == [first]
    with pytest.raises(GpuwrightError, match="--because"):
        merged([first], [row()], set(), [COPING], "2026-01-02", "")
    (corrected,) = merged([first], [row()], set(), [COPING], "2026-01-02", "it builds")
    assert corrected.prediction[0] == first.last
    assert (corrected.last.builds, corrected.last.because) == (True, "it builds")


def test_what_the_archive_drops_stays_where_it_was_measured() -> None:
    rows = merged([], [row(), row("6.12.94")], set(), [RULE], "2026-01-01", "")
    assert merged(rows, [], {row().key}, [RULE], "2026-01-02", "") == [
        each for each in rows if each.key == row().key
    ]


def test_files_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = merged([], [row(), row("6.12.94")], set(), [RULE], "2026-01-01", "")
    save_rows(rows, tmp_path / "rows.toml")
    assert load_rows(tmp_path / "rows.toml") == rows
    for each in rows:
        add_result(result(each, builds=False), tmp_path / "results.json")
    assert load_results(tmp_path / "results.json") == {each.key: result(each, False) for each in rows}


def test_errors_are_the_compilers_without_the_build_directory() -> None:
    assert first_errors(MAKE_LOG) == ("nvidia/nv-pci.c:237:5: error: too few arguments to function",)
    assert first_errors("ERROR: modpost: GPL-incompatible module nvidia.ko uses GPL-only symbol 'x'\n")
    assert first_errors("CC [M] nv-error.o\nmake: *** [Makefile:115: modules] Error 2\n") == ()
    assert last_line(MAKE_LOG) == "make: *** [Makefile:115: modules] Error 2"


@pytest.mark.parametrize(
    ("builds", "code", "word"), [(False, 0, "yes"), (True, 1, "NO"), (None, 0, "not built yet")]
)
def test_the_table_ends_with_1_where_a_row_disagrees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, builds: bool | None, code: int, word: str
) -> None:
    rows = merged([], [row()], set(), [RULE], "2026-01-01", "")
    results = {} if builds is None else {row().key: result(row(), builds)}
    monkeypatch.setattr(dkms, "load_rows", lambda: rows)
    monkeypatch.setattr(dkms, "load_results", lambda: results)
    done = CliRunner().invoke(dkms.app, ["--json", str(tmp_path / "table.json")])
    assert done.exit_code == code
    assert word in done.output
    (document,) = json.loads((tmp_path / "table.json").read_text())
    assert document["agrees"] == (None if builds is None else not code)


def test_the_files_are_where_the_bench_says() -> None:
    assert dkms_rows.PREDICTIONS.is_file()
