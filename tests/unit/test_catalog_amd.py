"""The catalogue's rows about AMD and container runtimes: complete, and consistent with each other."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files
from itertools import pairwise

import pytest
from pydantic import ValidationError

from gpuwright import catalog
from gpuwright.catalog.amd import AmdCatalog
from gpuwright.catalog.gpus import GpuRow
from gpuwright.catalog.version import numbers

ROWS = catalog.load()
AMD = ROWS.amd
GPUS = tuple(row for row in ROWS.gpus.rows if row.vendor == "1002")
RELEASES = {f"{row.id} {row.version}" for row in ROWS.releases}
FINGERPRINT = re.compile(r"[0-9A-F]{40}")


def test_ids_are_lower_case_hex() -> None:
    for row in GPUS:
        assert all(re.fullmatch("[0-9a-f]{4}", device) for device in row.devices), row.name
        assert all(re.fullmatch("[0-9a-f]{4}:[0-9a-f]{4}", sub) for sub in row.subsystems), row.name


def test_an_id_means_one_row() -> None:
    """Each pair of device and subsystem, "" for all others, is in one row."""
    pairs = [(device, sub) for row in GPUS for device in row.devices for sub in row.subsystems or ("",)]
    assert len(pairs) == len(set(pairs))


def test_a_shared_id_has_a_row_for_the_others() -> None:
    """A card with a subsystem that nobody wrote down is still known, with no more memory than it may have."""
    for named in (row for row in GPUS if row.subsystems):
        for device in named.devices:
            rest = ROWS.gpus.row("1002", device, "ffff:ffff")
            assert rest is not None and rest.memory_gb <= named.memory_gb, named.name
            assert rest.target == named.target


@pytest.mark.parametrize(
    ("device", "subsystem", "name", "target", "memory"),
    [
        ("744c", "1da2:471e", "Radeon RX 7900 XTX", "gfx1100", 24),
        ("744c", "1002:0e3b", "Radeon RX 7900 XTX / XT / GRE / 7900M", "gfx1100", 16),
        ("73bf", "1002:0e3a", "Radeon RX 6900 XT", "gfx1030", 16),
        ("74b5", "1002:74a1", "Instinct MI300X VF", "gfx942", 192),
        ("7408", "1002:0b0c", "Instinct MI250X", "gfx90a", 64),
        ("164e", "1043:8877", "Raphael (Radeon 610M)", "gfx1036", 0.5),
    ],
)
def test_cards_by_id(device: str, subsystem: str, name: str, target: str, memory: float) -> None:
    row = ROWS.gpus.row("1002", device, subsystem)
    assert row is not None
    assert (row.name, row.target, row.memory_gb) == (name, target, memory)


def test_every_target_of_a_card_has_a_row() -> None:
    assert {row.target for row in GPUS} == {row.name for row in AMD.targets}


def test_an_integrated_gpu_is_ryzen_and_nothing_else_is() -> None:
    for row in GPUS:
        assert (row.kind == "integrated") == (AMD.target(row.target).family == "ryzen"), row.name


def test_rows_name_releases_targets_and_cards_that_exist() -> None:
    targets, names = {row.name for row in AMD.targets}, {row.name for row in GPUS}
    assert {row.os for row in AMD.firmware} == RELEASES
    assert {row.os for row in AMD.support} <= RELEASES
    assert {os for row in (*AMD.dkms, *AMD.rocm) for os in row.suites} <= RELEASES
    assert {os for row in ROWS.runtimes for os in row.suites} <= RELEASES | {""}
    for listed in (*AMD.firmware, *AMD.bad_firmware, *AMD.workarounds):
        assert set(listed.targets) <= targets
    assert {name for row in AMD.support for name in row.gpus} <= names


def test_newer_firmware_of_a_release_has_what_the_older_has() -> None:
    """The first row that fits holds, so the release's own comes before its backports, and loses nothing to them."""
    for os in RELEASES:
        rows = [row for row in AMD.firmware if row.os == os]
        assert rows[0].suite == ""
        for older, newer in pairwise(rows):
            assert set(older.targets) < set(newer.targets)


def test_releases_stand_newest_first() -> None:
    for rows in (AMD.dkms, AMD.rocm):
        versions = [numbers(row.version) for row in rows]
        assert versions == sorted(versions, reverse=True)


def test_rocm_pairs_with_drivers_that_exist_and_every_driver_has_a_rocm() -> None:
    drivers = {row.version for row in AMD.dkms}
    assert {version for row in AMD.rocm for version in row.drivers} == drivers


def test_support_is_about_kernels_that_the_release_has() -> None:
    for row in AMD.support:
        assert row.kernel in {kernel.series for kernel in ROWS.kernels.offered(row.os)}, row.os


def test_every_repository_has_a_key() -> None:
    for uri in [row.uri for row in (*AMD.dkms, *AMD.rocm)]:
        key = AMD.key(uri)
        assert FINGERPRINT.fullmatch(key.key_fingerprint) and key.key_url.startswith("https://")
    for row in ROWS.runtimes:
        assert bool(row.packages) == bool(FINGERPRINT.fullmatch(row.key_fingerprint)) == bool(row.uri)
        assert bool(row.packages) == bool(row.suites)


def test_kernels_with_the_fourth_argument_are_those_of_the_nvidia_rows() -> None:
    """One change of the kernel, two vendors' modules: both files say since when."""
    (rule,) = (row for row in ROWS.nvidia.build_rules if "pci_resize_resource" in row.name)
    assert {row.first for row in AMD.resize_arguments} <= set(rule.kernels)


def test_the_floor_of_several_targets_is_the_newest() -> None:
    floors = {name: AMD.target(name).kernel for name in ("gfx906", "gfx942", "gfx950")}
    assert AMD.kernel_floor(floors) == floors["gfx950"]
    assert AMD.kernel_floor(()) == ""


@pytest.mark.parametrize("table", ["target", "dkms", "rocm", "firmware", "support", "workaround"])
def test_a_typo_in_a_row_is_an_error(table: str) -> None:
    data = tomllib.loads((files("gpuwright.catalog") / "amd.toml").read_text(encoding="utf-8"))
    data[table][0]["kernle"] = "6.1"
    with pytest.raises(ValidationError, match="kernle"):
        AmdCatalog.read(data)


def test_a_card_of_an_unknown_kind_is_an_error() -> None:
    row = GPUS[0].model_dump()
    with pytest.raises(ValidationError, match="kind"):
        GpuRow.model_validate({**row, "kind": "toaster"})
