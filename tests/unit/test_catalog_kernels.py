"""kernels.toml: what its rows must have in common, and what they say of names and versions."""

from __future__ import annotations

import re

import pytest

from gpuwright import catalog
from gpuwright.catalog.kernels import KernelRow
from gpuwright.catalog.version import at_least
from tests.synthetic import RELEASES, release_of

CATALOG = catalog.load()
ROWS = CATALOG.kernels.kernels
VIRTUAL = "linux-image-virtual"  # the generic kernel with fewer modules, and so by the same name
SYMBOLS = {
    "DRM_AMDGPU",
    "HSA_AMD",
    "PCI_P2PDMA",
    "DMABUF_MOVE_NOTIFY",
    "HSA_AMD_P2P",
    "INTEL_IOMMU_DEFAULT_ON",
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.os} {row.flavour} {row.image}")
def test_row_knows_its_own_kernel_by_name(row: KernelRow) -> None:
    assert set(row.options) == SYMBOLS
    assert at_least(row.version, row.series)
    first = CATALOG.kernels.running(row.os, release_of(row))
    assert first is not None and (first == row or (row.image == VIRTUAL and first.flavour == "ga"))


def test_every_release_has_a_kernel_of_its_own_first() -> None:
    for release in CATALOG.releases:
        offered = CATALOG.kernels.offered(f"{release.id} {release.version}")
        assert (offered[0].flavour, offered[0].suite) == ("ga", "")


def test_no_two_rows_are_one_kernel() -> None:
    assert len({(row.os, row.image, row.suite) for row in ROWS}) == len(ROWS) == len(RELEASES)


def test_kconfig_holds_in_every_row() -> None:
    """HSA_AMD_P2P depends on HSA_AMD and PCI_P2PDMA, and before 7.0 on DMABUF_MOVE_NOTIFY."""
    for row in ROWS:
        if row.options["HSA_AMD_P2P"] == "y":
            needs = CATALOG.kernels.peer_symbols(row.version).symbols
            assert all(row.options[symbol] == "y" for symbol in (*needs, "HSA_AMD")), row.image


def test_no_kernel_of_debian_has_p2p_for_amd() -> None:
    assert {row.options["HSA_AMD_P2P"] for row in ROWS if row.os.startswith("debian")} == {"n"}


@pytest.mark.parametrize(
    "os, release, flavour",
    [
        ("debian 12", "6.1.0-50-amd64", "ga"),
        ("debian 13", "6.12.107+deb13-amd64", "ga"),
        ("debian 13", "6.12.117+deb13.1-arm64", "ga"),
        ("debian 13", "6.18.15+deb13-amd64", "backports"),
        ("debian 13", "7.3.4+deb13-amd64", "backports"),
        ("debian 12", "6.12.22+bpo-amd64", "backports"),
        ("ubuntu 24.04", "6.14.0-37-generic", "hwe"),
        ("ubuntu 22.04", "6.5.0-1014-gcp", "cloud"),
    ],
)
def test_kernel_is_known_by_its_name(os: str, release: str, flavour: str) -> None:
    row = CATALOG.kernels.running(os, release)
    assert row is not None and row.flavour == flavour


@pytest.mark.parametrize(
    "release", ["6.8.12-4-pve", "5.15.0-144-kvm", "6.12.117-p2p", "6.18.44-gpu", "6.12.117+deb12-amd64", ""]
)
def test_foreign_kernels_are_nobodys(release: str) -> None:
    assert CATALOG.kernels.running("debian 13", release) is None


def test_a_backport_has_the_name_of_the_releases_own_kernel() -> None:
    ga, backports = (row for row in CATALOG.kernels.offered("debian 13") if row.image == "linux-image-{arch}")
    assert ga.is_installed_as("linux-image-amd64", "6.12.117-1", "amd64")
    assert not ga.is_installed_as("linux-image-amd64", "7.2.12-1~bpo13+1", "amd64")
    assert backports.is_installed_as("linux-image-arm64", "7.2.12-1~bpo13+1", "arm64")


def test_a_build_starts_from_a_series_that_its_packages_name() -> None:
    for row in CATALOG.kernels.builds:
        assert all(re.search(rf"-{re.escape(row.series)}$", name) for name in row.packages)


@pytest.mark.parametrize(
    "version, floor, enough",
    [
        ("6.12.117", "6.12", True),
        ("6.8.0-52-generic", "6.12", False),
        ("6.18", "6.9", True),
        ("7.0.0", "6.19", True),
        ("5.15", "", True),
        ("", "6.1", False),
    ],
)
def test_versions_are_compared_as_numbers(version: str, floor: str, enough: bool) -> None:
    assert at_least(version, floor) is enough
