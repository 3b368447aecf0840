"""Every AMD card everywhere: planned or refused, fixed points, and what one row of the catalogue changes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest

from gpuwright.catalog.row import Row
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import DriverPlan, FirmwarePlan, Gpu
from tests.unit.amd_host import (
    CODENAMES,
    ROWS,
    after,
    answer,
    card,
    dkms,
    host,
)


def test_every_card_everywhere_is_planned_or_refused_and_plans_are_fixed_points() -> None:
    """All targets x releases x flavours x settings: no exception, and what was installed changes no answer."""
    names = {row.target: row.name for row in ROWS.gpus.rows if row.vendor == "1002"}.values()
    planned = 0
    for name, os, flavour, driver, packages, version in itertools.product(
        names,
        sorted(CODENAMES),
        ("ga", "hwe", "backports", "keep"),
        ("auto", "in-tree", "dkms"),
        ("none", "runtime"),
        ("auto", "7.2"),
    ):
        facts, gpu = host(os), card(name)
        settings = {"rocm_driver": driver, "rocm_packages": packages, "rocm_version": version}
        first = answer(facts, gpu, flavour=flavour, **settings)
        if isinstance(first[0], DriverPlan) and isinstance(first[1], FirmwarePlan):
            planned += 1
            second = answer(after(facts, first[0], first[1]), gpu, flavour=flavour, **settings)
            assert second == first, (name, os, flavour, settings)
    assert planned > 500


def test_adopted_and_replaced_drivers_are_fixed_points() -> None:
    for os, version, name in itertools.product(
        ("debian 13", "ubuntu 24.04"),
        (
            "1:6.16.13.30300400-2341068.24.04",
            "1:7.1.1.31400100-2370000.24.04",
            "1:6.12.12.60402-2187269.24.04",
        ),
        ("Instinct MI300X", "Radeon PRO W7900"),
    ):
        facts = host(os, dkms(version))
        driver, firmware = answer(facts, card(name))
        assert isinstance(driver, DriverPlan) and isinstance(firmware, FirmwarePlan)
        assert answer(after(facts, driver, firmware), card(name)) == (driver, firmware), (os, version)


MACHINES: dict[str, tuple[HostFacts, Gpu, str, dict[str, str]]] = {
    "mi300x-debian13": (host("debian 13"), card("Instinct MI300X"), "ga", {}),
    "mi300x-ubuntu24": (host("ubuntu 24.04"), card("Instinct MI300X"), "ga", {}),
    "w7900-debian12": (host("debian 12"), card("Radeon PRO W7900"), "ga", {}),
    "w7900-runtime": (host("debian 13"), card("Radeon PRO W7900"), "ga", {"rocm_packages": "runtime"}),
    "r9700-debian12": (host("debian 12"), card("Radeon AI PRO R9700"), "backports", {}),
    "strix-halo": (host("ubuntu 24.04"), card("Strix Halo (Radeon 8050S / 8060S)"), "hwe", {}),
}


@pytest.mark.parametrize(
    ("table", "is_it", "values", "changed"),
    [
        ("support", lambda row: row.os == "debian 13", {"gpus": ()}, {"mi300x-debian13"}),
        ("dkms", lambda row: row.version == "31.50", {"kernel_first": "6.12"}, {"mi300x-ubuntu24"}),
        ("dkms", lambda row: row.version == "31.40", {"packages": ("other",)}, set()),
        ("rocm", lambda row: row.version == "10.0", {"packages": ("other",)}, {"w7900-runtime"}),
        ("workarounds", lambda row: True, {"kernel_fixed": "6.17"}, {"strix-halo"}),
        ("targets", lambda row: row.name == "gfx1201", {"kernel": "6.13"}, {"r9700-debian12"}),
        ("targets", lambda row: row.name == "gfx1100", {"rocm_last": "7.14"}, {"w7900-runtime"}),
        (
            "firmware",
            lambda row: row.suite == "bookworm-backports",
            {"package": "other"},
            {"r9700-debian12"},
        ),
        (
            "keys",
            lambda row: row.uri == "https://repo.radeon.com/",
            {"key_fingerprint": "0" * 40},
            {"mi300x-debian13", "mi300x-ubuntu24"},
        ),
    ],
)
def test_one_row_changes_the_plans_it_is_about(
    table: str, is_it: Callable[[Row], bool], values: dict[str, object], changed: set[str]
) -> None:
    rows: tuple[Row, ...] = getattr(ROWS.amd, table)
    (hit,) = (row for row in rows if is_it(row))
    edited = tuple(row.model_copy(update=values) if row is hit else row for row in rows)
    other = replace(ROWS, amd=replace(ROWS.amd, **{table: edited}))
    differing = {
        name
        for name, (facts, gpu, flavour, settings) in MACHINES.items()
        if answer(facts, gpu, flavour=flavour, **settings)
        != answer(facts, gpu, flavour=flavour, rows=other, **settings)
    }
    assert differing == changed
