"""ROCm on the host: three generations, one at a time; and the firmware that cards load."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpuwright.facts.model import Found, InstalledPackage, Leftover
from gpuwright.plan.gpu_model import DriverPlan, FirmwarePlan
from tests.unit.amd_host import (
    answer,
    card,
    driver_of,
    host,
    refusals_of,
)


@pytest.mark.parametrize(
    ("version", "uri", "suite", "packages"),
    [
        (
            "10.0",
            "https://stable.repo.amd.com/rocm/core/packages/ubuntu2404/",
            "stable",
            ("amdrocm-runtime10.0", "amdrocm-amdsmi10.0", "amdrocm-blas10.0-gfx1100"),
        ),
        (
            "7.14",
            "https://repo.amd.com/rocm/packages-multi-arch/ubuntu2404",
            "stable",
            ("amdrocm-runtime7.14", "amdrocm-amdsmi7.14", "amdrocm-blas7.14-gfx1100"),
        ),
        (
            "7.2",
            "https://repo.radeon.com/rocm/apt/7.2",
            "noble",
            ("rocm-hip-runtime", "rocminfo", "amd-smi-lib"),
        ),
    ],
)
def test_three_generations_of_rocm(version: str, uri: str, suite: str, packages: tuple[str, ...]) -> None:
    driver = driver_of(
        host("ubuntu 24.04"), card("Radeon PRO W7900"), rocm_packages="runtime", rocm_version=version
    )
    (repository,) = driver.repositories
    assert (repository.uri, repository.suite, repository.components) == (uri, suite, ("main",))
    assert driver.packages == packages and driver.source == "kernel"


def test_one_package_for_each_target() -> None:
    pair = card("Radeon PRO W7900"), card("Radeon PRO W6800", address="0000:04:00.0")
    packages = driver_of(host(), *pair, rocm_packages="runtime").packages
    assert packages[2:] == ("amdrocm-blas10.0-gfx1100", "amdrocm-blas10.0-gfx1030")


def test_rocm_that_does_not_support_a_card() -> None:
    facts = host("ubuntu 24.04")
    (refusal,) = refusals_of(facts, card("Instinct MI50 / Radeon Pro VII"), rocm_packages="runtime")
    assert "gfx906" in refusal.observed and "ROCm 2.0 to 6.3" in refusal.required
    (refusal,) = refusals_of(facts, card("Instinct MI50 / Radeon Pro VII"), rocm_version="7.2")
    assert 'rocm_packages = "none" and rocm_version = "auto"' in refusal.remedy
    assert driver_of(facts, card("Instinct MI50 / Radeon Pro VII")).packages == ()
    (refusal,) = refusals_of(facts, card("Radeon RX 6600 / 6600 XT / 6650 XT"), rocm_packages="runtime")
    assert "HSA_OVERRIDE_GFX_VERSION=10.3.0" in refusal.remedy


def test_a_rocm_that_is_not_there_for_the_release() -> None:
    gpu = card("Radeon PRO W7900")
    (refusal,) = refusals_of(host(), gpu, rocm_version="9.9")
    assert refusal.subject == "setting rocm_version" and "10.0" in refusal.required
    (refusal,) = refusals_of(host("ubuntu 26.04"), gpu, rocm_packages="runtime", rocm_version="7.2")
    assert "ROCm 7.2 for ubuntu 26.04" in refusal.observed
    arm = replace(host(), arch="aarch64")
    (refusal,) = refusals_of(arm, gpu, rocm_packages="runtime")
    assert "aarch64" in refusal.observed


def test_never_two_rocm_on_a_host() -> None:
    gpu = card("Radeon PRO W7900")
    older = Found(packages=(InstalledPackage("amdrocm-runtime7.14", "7.14.0-3"),))
    facts = host("ubuntu 24.04", older)
    kept = driver_of(facts, gpu, rocm_packages="runtime")
    assert kept.packages[0] == "amdrocm-runtime7.14"  # what is there supports the card: it stays
    (refusal,) = refusals_of(facts, gpu, rocm_packages="runtime", rocm_version="10.0")
    assert refusal.subject == "ROCm 7.14" and 'rocm_version = "7.14"' in refusal.remedy
    assert driver_of(facts, gpu).packages == ()  # nobody wants ROCm on the host: it is left alone


def test_a_rocm_that_lacks_a_card_is_refused() -> None:
    facts = host("ubuntu 24.04", Found(packages=(InstalledPackage("rocm-core", "7.2.0.70200-43~24.04"),)))
    (refusal,) = refusals_of(
        facts, card("Radeon RX 7600 / 7600 XT / 7700S or PRO W7600"), rocm_packages="runtime"
    )
    assert refusal.subject == "ROCm 7.2" and "does not support every card" in refusal.observed


@pytest.mark.parametrize(
    ("leftover", "subject"),
    [
        (Leftover("rocm-legacy", "/opt/rocm-6.4.2"), "ROCm in /opt/rocm-6.4.2"),
        (Leftover("amdgpu-install", "amdgpu-install"), "amdgpu-install"),
    ],
)
def test_leftovers_that_fight_with_rocm(leftover: Leftover, subject: str) -> None:
    facts = host(found=Found(leftovers=(leftover,)))
    (refusal,) = refusals_of(facts, card("Radeon PRO W7900"), rocm_packages="runtime")
    assert refusal.subject == subject and "purge" in refusal.remedy
    assert driver_of(facts, card("Radeon PRO W7900")).delivery == "in-tree"


@pytest.mark.parametrize(
    ("os", "flavour", "name", "suite"),
    [
        ("debian 12", "ga", "Radeon PRO W7900", ""),
        ("debian 12", "backports", "Radeon AI PRO R9700", "bookworm-backports"),
        ("debian 12", "ga", "Radeon PRO W7700", "bookworm-backports"),  # gc_11_0_3
        ("debian 12", "backports", "Instinct MI308X", "bookworm-backports"),
        ("debian 13", "ga", "Radeon AI PRO R9700", ""),
        ("debian 13", "backports", "Instinct MI350X", "trixie-backports"),
    ],
)
def test_firmware_is_as_new_as_the_card(os: str, flavour: str, name: str, suite: str) -> None:
    driver, firmware = answer(host(os), card(name), flavour=flavour)
    assert isinstance(driver, DriverPlan) and driver.delivery == "in-tree"
    assert firmware == FirmwarePlan(("firmware-amd-graphics",), ("non-free-firmware",), suite)


def test_a_release_without_firmware_takes_amds_or_is_refused() -> None:
    gpu = card("Radeon AI PRO R9700")
    assert driver_of(host("ubuntu 22.04"), gpu, flavour="hwe").delivery == "dkms"
    (refusal,) = refusals_of(
        host("debian 12"),
        card("Krackan Point 2 (Radeon 820M / 840M)"),
        flavour="keep",
    )
    assert refusal.subject == "firmware" and "gfx1153" in refusal.observed


def test_firmware_that_hangs_is_refused() -> None:
    apu = card("Strix Halo (Radeon 8050S / 8060S)")
    bad = Found(packages=(InstalledPackage("firmware-amd-graphics", "20251125-1~bpo13+1"),))
    (refusal,) = refusals_of(host(found=bad), apu)
    assert refusal.subject == "firmware" and "20251125-1~bpo13+1" in refusal.observed
    assert driver_of(host(found=bad), card("Radeon PRO W7900")).delivery == "in-tree"
