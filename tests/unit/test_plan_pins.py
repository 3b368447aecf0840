"""apt pins: they come with a vendor's repository, and only where its names are the distribution's too."""

from __future__ import annotations

import re

import pytest

from gpuwright import catalog
from gpuwright.errors import Refusal
from gpuwright.facts.model import Driver, Found, InstalledPackage
from gpuwright.plan import HostPlan, plan_host
from gpuwright.plan.model import AptPin
from gpuwright.settings import read_settings
from tests.synthetic import host
from tests.unit import amd_host

ROWS = catalog.load()
PINS = (*ROWS.nvidia.pins, *ROWS.amd.pins)
NVIDIA = AptPin("gpuwright-nvidia-cuda", "*", "release l=NVIDIA CUDA", 600)
RADEON = AptPin("gpuwright-repo-radeon-com", "*", "release o=repo.radeon.com", 600)
W7900 = amd_host.card("Radeon PRO W7900")


def planned(os: str, card: str, **settings: object) -> HostPlan:
    plan = plan_host(host(os, [card]), read_settings(settings), ROWS)
    assert isinstance(plan, HostPlan), [str(each) for each in plan if isinstance(each, Refusal)]
    return plan


@pytest.mark.parametrize("os", ["debian 13", "ubuntu 22.04", "ubuntu 24.04", "ubuntu 26.04"])
def test_nvidias_repository_brings_its_pin(os: str) -> None:
    plan = planned(os, "GeForce RTX 4090", nvidia_driver_source="nvidia")
    (driver,) = plan.drivers
    assert driver.pins == (NVIDIA,)
    reason = plan.why["drivers.0.pins.0.priority"]
    assert "nvidia-persistenced on Debian" in reason.reason and "cuda-repository-pin-600" in reason.source


def test_the_distributions_driver_needs_no_pin() -> None:
    (driver,) = planned("ubuntu 24.04", "GeForce RTX 4090", nvidia_driver_source="distribution").drivers
    assert driver.repositories == driver.pins == ()


@pytest.mark.parametrize(
    ("version", "pins"), [("10.0", ()), ("7.14", ()), ("7.2", (RADEON,)), ("7.0", (RADEON,))]
)
def test_rocm_is_pinned_where_its_names_are_the_distributions(version: str, pins: tuple[AptPin, ...]) -> None:
    driver = amd_host.driver_of(amd_host.host(), W7900, rocm_packages="runtime", rocm_version=version)
    assert driver.repositories and driver.pins == pins


def test_amds_driver_and_rocm_of_one_place_share_a_pin() -> None:
    driver = amd_host.driver_of(
        amd_host.host("ubuntu 24.04"), W7900, rocm_driver="dkms", rocm_packages="runtime", rocm_version="7.2"
    )
    assert [repository.name for repository in driver.repositories] == ["amdgpu", "rocm"]
    assert driver.pins == (RADEON,)


def test_drivers_that_are_not_ours_or_the_kernels_have_no_pin() -> None:
    assert amd_host.driver_of(amd_host.host(), W7900).pins == ()
    foreign = Found(
        drivers=(Driver("amdgpu", "6.12.12", "dkms", "package", loaded=True),),
        packages=(InstalledPackage("docker-ce", "5:28.5.2-1"),),
    )
    driver = amd_host.driver_of(amd_host.host(found=foreign), W7900)
    assert (driver.source, driver.pins) == ("unmanaged", ())


def test_apt_reads_the_file_of_every_pin() -> None:
    """apt passes over files of preferences.d whose names have another extension than .pref (apt_preferences(5))."""
    assert all(re.fullmatch("[A-Za-z0-9_-]+", pin.name) for pin in PINS)
    assert len({pin.name for pin in PINS}) == len(PINS)


def test_every_pin_is_of_a_repository_that_a_plan_may_have() -> None:
    uris = [row.uri for row in (*ROWS.nvidia.repositories, *ROWS.amd.dkms, *ROWS.amd.rocm)]
    assert all(any(uri.startswith(pin.uri) for uri in uris) for pin in PINS)
    assert all(pin.uri.endswith("/") for pin in PINS)  # a whole host, never the beginning of another's name
