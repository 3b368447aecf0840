"""A mirror of NVIDIA's repositories: what it is in the place of, and what stays as it is."""

from __future__ import annotations

import pytest

from gpuwright.errors import GpuwrightError
from gpuwright.plan import HostPlan, plan_host
from gpuwright.plan.nvidia.mirror import MirroredRepository
from gpuwright.settings import read_settings
from tests.synthetic import host
from tests.unit.nvidia_host import CATALOG, RTX4090, deployed, driver_of, planned

MIRROR = "https://apt.lab/nvidia/cuda"
PUBLIC = CATALOG.nvidia.public[0].uri


def test_the_repository_moves_with_its_key_and_says_what_it_is_in_the_place_of() -> None:
    public = driver_of(host("debian 13", [RTX4090])).repositories[0]
    plan = driver_of(host("debian 13", [RTX4090]), nvidia_driver_mirror=MIRROR)
    (mirror,) = plan.repositories
    assert isinstance(mirror, MirroredRepository)
    assert mirror.uri == f"{MIRROR}/debian13/x86_64/"
    assert mirror.key_url == f"{MIRROR}/debian13/x86_64/{public.key_url.rpartition('/')[2]}"
    assert mirror.public == public.uri
    assert (mirror.name, mirror.suite, mirror.key_fingerprint) == (
        public.name,
        public.suite,
        public.key_fingerprint,
    )


@pytest.mark.parametrize("mirror", ["http://apt.lab", "https://apt.lab:8443/cuda/", "file:/srv/cuda"])
def test_a_mirror_is_any_place_that_apt_and_curl_can_read(mirror: str) -> None:
    plan = driver_of(
        host("ubuntu 24.04", [RTX4090]), nvidia_driver_mirror=mirror, nvidia_driver_source="nvidia"
    )
    assert plan.repositories[0].uri == f"{mirror.rstrip('/')}/ubuntu2404/x86_64/"


def test_the_same_packages_pins_and_patterns_come_from_it() -> None:
    facts = host("debian 12", [RTX4090])
    public, mirror = planned(facts), planned(facts, nvidia_driver_mirror=MIRROR)
    assert public.driver and mirror.driver
    assert mirror.driver.names == public.driver.names
    assert mirror.driver.pins == public.driver.pins != ()
    assert mirror.holds == public.holds


def test_no_pin_of_nvidias_names_a_host() -> None:
    assert not [pin.pin for pin in CATALOG.nvidia.pins if pin.pin.startswith("origin")]


def test_the_distributions_driver_has_no_mirror() -> None:
    facts = host("ubuntu 24.04", [RTX4090])
    assert driver_of(facts, nvidia_driver_mirror=MIRROR) == driver_of(facts)


def test_a_deploy_from_it_is_found_again() -> None:
    facts = host("debian 13", [RTX4090])
    plan = driver_of(facts, nvidia_driver_mirror=MIRROR)
    assert driver_of(deployed(facts, plan), nvidia_driver_mirror=MIRROR) == plan


def test_every_value_of_it_has_a_reason() -> None:
    plan = plan_host(host("debian 13", [RTX4090]), read_settings({"nvidia_driver_mirror": MIRROR}), CATALOG)
    assert isinstance(plan, HostPlan)
    assert "nvidia_driver_mirror" in plan.why["drivers.0.repositories.0.uri"].reason
    assert PUBLIC in plan.why["drivers.0.repositories.0.public"].reason


@pytest.mark.parametrize(
    "wrong", ["apt.lab/cuda", "ftp://apt.lab", "https://me:secret@apt.lab/cuda", "https://", "file:srv/cuda"]
)
def test_what_is_no_place_or_holds_a_password_is_refused(wrong: str) -> None:
    with pytest.raises(GpuwrightError) as error:
        read_settings({"nvidia_driver_mirror": wrong})
    assert "nvidia_driver_mirror" in str(error.value)


def test_all_repositories_and_keys_are_below_what_a_mirror_replaces() -> None:
    for row in CATALOG.nvidia.repositories:
        assert row.uri.startswith(PUBLIC) and row.key_url.startswith(row.uri)
