"""AMD's kernel driver: the kernel's own or AMD's, adopted, replaced or refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpuwright.facts.model import Driver, Found, Kernel, Leftover
from gpuwright.plan.amd import plan_amd
from gpuwright.plan.gpu_model import DriverPlan, FirmwarePlan
from gpuwright.plan.notes import Notes
from gpuwright.settings import read_settings
from tests.unit.amd_host import (
    ROWS,
    answer,
    card,
    dkms,
    driver_of,
    host,
    kernel,
    refusals_of,
)


@pytest.mark.parametrize("use", ["display", "passthrough"])
def test_a_card_that_does_not_compute_gets_nothing(use: str) -> None:
    notes = Notes()
    gpus = (card("Radeon PRO W7900", use=use),)
    plan = plan_amd(host(), read_settings({}), ROWS, gpus, kernel("debian 13"), "drivers.0", notes)
    assert plan is None and not notes.refusals


def test_a_radeon_gets_the_kernels_own_driver() -> None:
    got = answer(host("debian 12"), card("Radeon PRO W7900"))
    assert got == (
        DriverPlan(
            "amd", "kernel", "", "in-tree", "in-tree", (), (), (), (), (), "amdgpu", (), ("amdgpu",), (), ()
        ),
        FirmwarePlan(("firmware-amd-graphics",), ("non-free-firmware",), ""),
    )


@pytest.mark.parametrize(
    ("os", "name", "delivery"),
    [
        ("debian 13", "Instinct MI300X", "dkms"),
        ("debian 13", "Instinct MI355X", "dkms"),
        ("debian 12", "Instinct MI250X", "dkms"),
        ("ubuntu 22.04", "Instinct MI300X", "dkms"),
        ("ubuntu 24.04", "Instinct MI210", "dkms"),
        ("ubuntu 26.04", "Instinct MI100", "dkms"),
        ("debian 13", "Instinct MI210", "in-tree"),  # not on Debian
        ("debian 13", "Instinct MI300A", "in-tree"),  # Debian 12 only
        ("ubuntu 24.04", "Instinct MI308X", "in-tree"),  # in no matrix
        ("ubuntu 24.04", "Radeon PRO W7900", "in-tree"),
    ],
)
def test_instinct_gets_amds_driver_where_amd_supports_it(os: str, name: str, delivery: str) -> None:
    driver, firmware = answer(host(os), card(name))
    assert isinstance(driver, DriverPlan) and isinstance(firmware, FirmwarePlan)
    assert driver.delivery == delivery
    assert (driver.source == "amd") == (delivery == "dkms") == (not firmware.packages)


def test_amds_driver_comes_from_the_ubuntu_suite() -> None:
    driver = driver_of(host("debian 13"), card("Instinct MI300X"))
    (repository,) = driver.repositories
    assert (repository.uri, repository.suite) == ("https://repo.radeon.com/amdgpu/31.50/ubuntu", "noble")
    assert driver.branch == "31.50" and driver.packages == ("amdgpu-dkms", "amdgpu-dkms-firmware")


def test_secure_boot_leaves_the_kernels_driver_unless_the_other_is_declared() -> None:
    facts = host("debian 13", secure_boot="enabled")
    assert driver_of(facts, card("Instinct MI300X")).delivery == "in-tree"
    assert driver_of(facts, card("Instinct MI300X"), rocm_driver="dkms").delivery == "dkms"
    there = replace(facts, found=dkms("1:7.1.3.31500000-2390945.24.04"))
    assert driver_of(there, card("Instinct MI300X")).branch == "31.50"  # somebody has signed it


def test_dkms_is_refused_for_an_apu_and_off_x86() -> None:
    apu = card("Strix Halo (Radeon 8050S / 8060S)")
    (refusal,) = refusals_of(host("ubuntu 24.04"), apu, flavour="hwe", rocm_driver="dkms")
    assert refusal.subject.startswith("gpu 0000:03:00.0 (Strix Halo") and "inbox" in refusal.required
    arm = replace(host("ubuntu 24.04"), arch="aarch64")
    (refusal,) = refusals_of(arm, card("Instinct MI210"), rocm_driver="dkms")
    assert "aarch64" in refusal.observed
    assert driver_of(arm, card("Instinct MI210")).delivery == "in-tree"


def test_a_driver_that_calls_with_three_arguments_needs_an_older_kernel() -> None:
    mi300x = card("Instinct MI300X")
    asked = {"rocm_driver": "dkms", "rocm_version": "7.2"}
    assert driver_of(host("ubuntu 24.04"), mi300x, **asked).branch == "30.30"
    (refusal,) = refusals_of(host("debian 13"), mi300x, **asked)
    assert "30.30 calls pci_resize_resource with three arguments" in refusal.observed
    assert "31.50 is not paired with ROCm 7.2" in refusal.observed
    assert driver_of(host("debian 13"), mi300x, rocm_driver="dkms", rocm_version="7.14").branch == "31.40"


def test_a_driver_does_not_build_for_kernels_after_its_time() -> None:
    (refusal,) = refusals_of(
        host("debian 13"), card("Radeon PRO W7900"), flavour="backports", rocm_driver="dkms"
    )
    assert "builds for Linux 5.15 to 7.0, not for 7.3" in refusal.observed


def test_a_kernel_too_old_for_a_card_is_refused_unless_it_was_already() -> None:
    gpu = card("Radeon AI PRO R9700")
    (refusal,) = refusals_of(host("ubuntu 24.04"), gpu, rocm_driver="in-tree")
    assert (
        refusal.subject.startswith("gpu 0000:03:00.0 (Radeon AI PRO R9700")
        and "Linux 6.11" in refusal.required
    )
    assert driver_of(host("ubuntu 24.04"), gpu).delivery == "dkms"  # AMD's knows it, and builds
    notes, settings = Notes(), read_settings({"rocm_driver": "in-tree"})
    notes.refuse("kernel", "6.8", "6.11", "Install a newer one.")
    plan = plan_amd(host("ubuntu 24.04"), settings, ROWS, (gpu,), kernel("ubuntu 24.04"), "drivers.0", notes)
    assert plan is None and len(notes.refusals) == 1


def test_amds_installer_goes_before_a_new_driver_and_stays_beside_its_own() -> None:
    left = (Leftover("amdgpu-install", "amdgpu-install"),)
    (refusal,) = refusals_of(host(found=Found(leftovers=left)), card("Instinct MI300X"))
    assert refusal.subject == "amdgpu-install" and "purge" in refusal.remedy
    both = {"rocm_packages": "runtime"}
    assert len(refusals_of(host(found=Found(leftovers=left)), card("Instinct MI300X"), **both)) == 1
    there = replace(dkms("1:7.1.3.31500000-2390945.24.04"), leftovers=left)
    assert driver_of(host(found=there), card("Instinct MI300X")).branch == "31.50"


def test_a_kept_kernel_without_headers_builds_nothing() -> None:
    gpu = card("Instinct MI300X")
    for headers, delivery in ((True, "dkms"), (False, "in-tree")):
        running = Kernel("6.12.96+deb13-amd64", running=True, headers=headers)
        assert driver_of(host(found=Found(kernels=(running,))), gpu, flavour="keep").delivery == delivery
    (refusal,) = refusals_of(host(found=Found(kernels=(running,))), gpu, flavour="keep", rocm_driver="dkms")
    assert refusal.subject == "kernel" and "headers" in refusal.observed


def test_the_room_that_dkms_needs_is_said() -> None:
    notes, gpus = Notes(), (card("Instinct MI300X"),)
    plan_amd(host(), read_settings({}), ROWS, gpus, kernel("debian 13"), "drivers.0", notes)
    assert "1024 MiB free in /boot" in notes.explain(["drivers.0.packages.0"])["drivers.0.packages.0"].reason


def test_a_dkms_driver_that_fits_is_adopted() -> None:
    facts = host("ubuntu 24.04", dkms("1:6.16.13.30300400-2341068.24.04"))
    driver = driver_of(facts, card("Radeon PRO W7900"))
    assert (driver.delivery, driver.branch) == ("dkms", "30.30")
    facts = host("ubuntu 24.04", dkms("1:6.12.12.60402-2187269.24.04"))  # numbered as ROCm, before 30.x
    driver = driver_of(facts, card("Radeon PRO W7900"))
    assert (driver.delivery, driver.packages, driver.repositories) == ("dkms", (), ())


def test_a_dkms_driver_without_a_row_goes_with_no_rocm() -> None:
    facts = host("ubuntu 24.04", dkms("1:6.12.12.60402-2187269.24.04"))
    (refusal,) = refusals_of(facts, card("Radeon PRO W7900"), rocm_version="7.2")
    assert refusal.subject == "amdgpu-dkms" and "30.30, 30.20, 30.10" in refusal.required


def test_a_dkms_driver_that_does_not_build_gives_way_to_one_that_does() -> None:
    facts = host("debian 13", dkms("1:6.16.13.30300400-2341068.24.04"))
    assert driver_of(facts, card("Instinct MI300X")).branch == "31.50"
    assert driver_of(facts, card("Radeon PRO W7900")).branch == "31.50"


def test_a_dkms_driver_that_may_not_stay_is_refused() -> None:
    there = dkms("1:7.1.3.31500000-2390945.24.04")
    (refusal,) = refusals_of(host(found=there), card("Radeon PRO W7900"), rocm_driver="in-tree")
    assert "apt-get purge amdgpu-dkms" in refusal.remedy
    apu = card("Strix Halo (Radeon 8050S / 8060S)")
    (refusal,) = refusals_of(host("ubuntu 26.04", there), apu)
    assert "needs the kernel's own driver" in refusal.observed
    rest = Found(packages=there.packages[1:])
    (refusal,) = refusals_of(host("ubuntu 26.04", rest), apu)
    assert refusal.subject == "amdgpu-dkms-firmware"


def test_a_module_that_no_package_owns_stays_unless_something_else_is_declared() -> None:
    facts = host(found=Found(drivers=(Driver("amdgpu", "6.10.5", "dkms", "unknown", True),)))
    driver, firmware = answer(facts, card("Radeon PRO W7900"))
    assert isinstance(driver, DriverPlan) and isinstance(firmware, FirmwarePlan)
    assert (driver.source, driver.delivery, driver.load) == ("unmanaged", "unmanaged", ())
    assert firmware == FirmwarePlan((), (), "")
    for declared in ("dkms", "in-tree"):
        (refusal,) = refusals_of(facts, card("Radeon PRO W7900"), rocm_driver=declared)
        assert "no package owns" in refusal.observed


def test_in_a_container_the_driver_is_another_hosts() -> None:
    facts = replace(host(), virtualisation="lxc")
    assert driver_of(facts, card("Instinct MI300X"), flavour="keep").delivery == "unmanaged"


@pytest.mark.parametrize(
    ("os", "flavour", "options"),
    [
        ("ubuntu 24.04", "hwe", ("cwsr_enable=0",)),  # 6.17
        ("debian 13", "ga", ("cwsr_enable=0",)),  # 6.12
        ("debian 13", "backports", ()),  # 7.3
        ("ubuntu 26.04", "ga", ()),  # 7.0
        ("debian 13", "keep", ()),  # nobody could read which runs
    ],
)
def test_strix_halos_workaround_ends_with_the_fix(os: str, flavour: str, options: tuple[str, ...]) -> None:
    apu = card("Strix Halo (Radeon 8050S / 8060S)")
    assert driver_of(host(os), apu, flavour=flavour).options == options


def test_a_kept_kernel_is_judged_by_its_release() -> None:
    apu = card("Strix Halo (Radeon 8050S / 8060S)")
    facts = host("debian 13", Found(kernels=(Kernel("6.16.3+deb13-amd64", running=True, headers=True),)))
    assert driver_of(facts, apu, flavour="keep").options == ("cwsr_enable=0",)
