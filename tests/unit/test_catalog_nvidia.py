"""NVIDIA's rows: each with a source, consistent with each other, and rules that say what they mean."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files
from typing import get_args

import pytest
from pydantic import ValidationError

from gpuwright import catalog
from gpuwright.catalog.nvidia import NvidiaCatalog
from gpuwright.catalog.nvidia_driver import Source
from gpuwright.catalog.version import numbers
from gpuwright.facts import NVIDIA

CATALOG = catalog.load()
ROWS = CATALOG.nvidia
GPUS = [row for row in CATALOG.gpus.rows if row.vendor == NVIDIA]
RELEASES = [f"{row.id} {row.version}" for row in CATALOG.releases]


def raw() -> dict[str, list[dict[str, object]]]:
    return tomllib.loads((files("gpuwright.catalog") / "nvidia.toml").read_text())


def test_no_field_and_no_kind_of_row_goes_unread() -> None:
    fields = NvidiaCatalog.read(raw()).__dict__
    assert sum(len(rows) for rows in fields.values()) == sum(len(rows) for rows in raw().values())


@pytest.mark.parametrize("kind", sorted(raw()))
def test_a_typo_in_a_row_is_an_error(kind: str) -> None:
    data = raw()
    data[kind][0]["surce"] = "x"
    with pytest.raises(ValidationError):
        NvidiaCatalog.read(data)


def test_every_id_is_four_hex_digits_and_of_one_card() -> None:
    ids = [device for row in GPUS for device in row.devices]
    assert all(re.fullmatch("[0-9a-f]{4}", device) for device in ids)
    assert len(set(ids)) == len(ids)
    assert len({row.name for row in GPUS}) == len(GPUS)


def test_every_card_has_an_architecture_and_each_is_a_cards() -> None:
    assert {row.arch for row in GPUS} == {row.arch for row in ROWS.architectures}


def test_memory_and_bandwidth_are_plausible() -> None:
    assert all(1 <= row.memory_gb <= 288 for row in GPUS)
    assert all(row.bandwidth_gbs is None or 10 < row.bandwidth_gbs <= 8000 for row in GPUS)
    assert all(row.kind != "consumer" or row.link in ("none", "nvlink-bridge") for row in GPUS)


def test_windows_of_architectures_hold_branches() -> None:
    for row in ROWS.architectures:
        inside = [b for b in ROWS.branches if row.first <= b.branch <= (row.last or b.branch)]
        assert inside, row.arch
        assert row.open == "no" or row.last is None
        if row.open == "no":
            assert any(branch.proprietary for branch in inside)


def test_branches_are_in_order_and_their_newest_version_is_theirs() -> None:
    assert [row.branch for row in ROWS.branches] == sorted({row.branch for row in ROWS.branches})
    assert all(numbers(row.newest)[0] == row.branch for row in ROWS.branches)
    assert [numbers(row.cuda) for row in ROWS.branches] == sorted(numbers(row.cuda) for row in ROWS.branches)


def test_once_the_proprietary_modules_are_gone_they_stay_gone() -> None:
    gone = min(row.branch for row in ROWS.branches if not row.proprietary)
    assert all(row.proprietary == (row.branch < gone) for row in ROWS.branches)
    for row in ROWS.packages:
        assert row.modules == "open" or (row.last is not None and row.last < gone), row.packages


def test_a_branch_runs_the_cuda_that_it_was_made_for() -> None:
    floors = {row.major: numbers(row.driver) for row in ROWS.cuda}
    for row in ROWS.branches:
        assert numbers(row.newest) >= floors[numbers(row.cuda)[0]]


@pytest.mark.parametrize("os", RELEASES)
@pytest.mark.parametrize("source", get_args(Source))
def test_every_release_has_packages_of_every_source_in_both_flavours(os: str, source: str) -> None:
    rows = ROWS.sets(os, source)
    assert {row.modules for row in rows} == {"open", "proprietary"}
    known = {row.branch for row in ROWS.branches}
    assert all(any(row.has(branch) for branch in known) for row in rows)
    assert [row for row in ROWS.origins if os in row.os and row.source_of == source]


@pytest.mark.parametrize("os", RELEASES)
def test_every_release_has_a_repository_and_names_itself_in_it(os: str) -> None:
    rows = [row for row in ROWS.repositories if row.os == os]
    assert "x86_64" in {row.arch for row in rows}
    for row in rows:
        assert f"/{os.replace(' ', '').replace('.', '')}/" in row.uri
        assert row.uri.endswith({"x86_64": "/x86_64/", "aarch64": "/sbsa/"}[row.arch])
        assert row.key_url.startswith(row.uri)
        assert re.fullmatch("[0-9A-F]{40}", row.key_fingerprint)
        assert row.key_fingerprint.endswith(row.key_url.removesuffix(".pub")[-8:].upper())


def test_sources_never_share_a_marked_name() -> None:
    for os in RELEASES:
        for source in get_args(Source):
            for row in ROWS.sets(os, source):
                for name in row.names(580, "generic"):
                    marks = {o.source_of for o in ROWS.origins if os in o.os and o.marks(name, "")}
                    assert marks <= {source}, name


def test_package_sets_fill_in_branch_and_kernel() -> None:
    for row in ROWS.packages:
        text = " ".join(row.names(580, "generic"))
        assert "{" not in text
        assert bool(row.kernels) == (row.delivery == "prebuilt") == ("{kernel}" in " ".join(row.packages))


def test_boards_and_option_kinds_are_of_known_cards() -> None:
    names = {row.name for row in GPUS}
    assert all(name in names for board in ROWS.boards for name in board.gpus)
    kinds = {row.kind for row in GPUS}
    assert all(kind in kinds for row in ROWS.options for kind in row.kinds)


def test_fabric_rows_cover_every_branch_once() -> None:
    for source in get_args(Source):
        for os in RELEASES:
            for branch in ROWS.branches:
                rows = [
                    r for r in ROWS.fabrics if r.source_of == source and os in r.os and r.has(branch.branch)
                ]
                assert len(rows) <= 1


@pytest.mark.parametrize(
    "version, source",
    [
        ("580.95.05-0ubuntu0.24.04.1", "distribution"),
        ("580.126.20-0ubuntu3", "distribution"),
        ("580.65.06-0ubuntu1", "nvidia"),
        ("580.126.20-1ubuntu1", "nvidia"),
        ("580.178.04-1", "nvidia"),
    ],
)
def test_a_version_tells_whose_a_package_on_ubuntu_is(version: str, source: str) -> None:
    rows = [row for row in ROWS.origins if "ubuntu 24.04" in row.os]
    assert [row.source_of for row in rows if row.marks("libnvidia-compute-580", version)] == [source]


@pytest.mark.parametrize(
    ("kernel", "has"),
    [
        ("6.1.176", False),  # headers of bookworm main
        ("6.1.192", True),  # bookworm-security
        ("6.12.96+deb13-amd64", False),
        ("6.12.117+deb13-amd64", True),
        ("6.8.0-52-generic", False),
        ("7.2.12+deb13-amd64", True),
    ],
)
def test_build_rule_by_kernel(kernel: str, has: bool) -> None:
    assert ROWS.build_rules[0].applies(kernel) is has


@pytest.mark.parametrize(
    ("driver", "copes"),
    [
        ("535.261.03", False),
        ("550.163.01", False),
        ("570.211.01", False),
        ("580.119.02", False),
        ("580.126.09", True),
        ("590.44.01", False),
        ("590.48.01", True),
        ("610.57.04", True),
    ],
)
def test_build_rule_by_driver(driver: str, copes: bool) -> None:
    """Versions as read in Debian's packages and in the tags of NVIDIA's repository."""
    assert ROWS.build_rules[0].copes(driver) is copes


@pytest.mark.parametrize(
    ("name", "version", "ours"),
    [
        ("libnvidia-compute-580", "580.95.05-0ubuntu0.24.04.1", True),
        ("nvidia-kernel-dkms", "550.163.01-2", True),
        ("libcuda1", "550.163.01-2", True),
        ("nvidia-container-toolkit", "1.20.0-1", False),
        ("nvidia-cuda-toolkit", "12.4.131~12.4.1-2", False),
        ("cuda-toolkit-13-0", "13.0.2-1", False),
        ("libnvidia-container1", "1.20.0-1", False),
        ("nvidia-settings", "510.47.03-0ubuntu4", False),
    ],
)
def test_what_belongs_to_the_driver(name: str, version: str, ours: bool) -> None:
    assert ROWS.is_driver_package(name, version) is ours
