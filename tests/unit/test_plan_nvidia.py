"""Which NVIDIA driver a host gets, from its cards, its release, what is there and what is declared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpuwright.catalog import Catalog
from gpuwright.catalog.version import numbers
from gpuwright.facts import HostFacts
from gpuwright.facts.model import Kernel
from gpuwright.plan import HostPlan, plan_host
from gpuwright.settings import read_settings
from tests.synthetic import host
from tests.unit.nvidia_host import (
    B200,
    CATALOG,
    P40,
    RELEASES,
    RTX3090,
    RTX4090,
    RTX5090,
    SIGNED,
    V100,
    deployed,
    driver_of,
    loaded,
    planned,
    refused,
    switched,
    with_found,
)

# Architectures, branches and flavours


@pytest.mark.parametrize("os", RELEASES)
@pytest.mark.parametrize(
    "card", [RTX4090, RTX5090, "H100 SXM", "RTX PRO 6000 Blackwell Server Edition", "Tesla T4"]
)
def test_cards_of_today_get_the_long_term_branch_with_open_modules(os: str, card: str) -> None:
    plan = driver_of(host(os, [card]))
    assert (plan.branch, plan.modules) == ("580", "open")


@pytest.mark.parametrize("os", RELEASES)
@pytest.mark.parametrize("cards", [[P40], [V100], [P40, RTX3090], ["Tesla M40", V100, "L40S"]])
def test_one_old_card_binds_all_to_proprietary_modules(os: str, cards: list[str]) -> None:
    plan = driver_of(host(os, cards))
    assert (plan.branch, plan.modules) == ("580", "proprietary")


def test_ubuntu_has_it_signed_and_debian_gets_nvidias() -> None:
    ubuntu = driver_of(host("ubuntu 24.04", [RTX4090]))
    assert (ubuntu.source, ubuntu.delivery, ubuntu.packages) == ("distribution", "prebuilt", SIGNED)
    assert (ubuntu.repositories, ubuntu.module, ubuntu.first) == ((), "nvidia", ())
    assert ubuntu.components == ("restricted",)
    debian = driver_of(host("debian 13", [RTX4090]))
    assert (debian.source, debian.delivery, debian.module) == ("nvidia", "dkms", "nvidia")
    assert (debian.first, debian.components) == (("nvidia-driver-pinning-580",), ("contrib",))
    assert "nvidia-driver-pinning-580" not in debian.packages
    assert debian.names == debian.first + debian.packages
    assert debian.repositories[0].uri.endswith("/debian13/x86_64/")


def test_prebuilt_modules_follow_the_kernel() -> None:
    hwe = driver_of(host("ubuntu 24.04", [RTX4090], "hwe"))
    assert hwe.packages[0] == "linux-modules-nvidia-580-server-open-generic-hwe-24.04"
    oem = driver_of(host("ubuntu 24.04", [RTX4090], "oem"))
    assert (oem.source, oem.delivery) == ("distribution", "dkms")


@pytest.mark.parametrize("os, branch", [("debian 12", "535"), ("debian 13", "550")])
def test_debians_own_is_proprietary_because_its_open_modules_do_not_build(os: str, branch: str) -> None:
    plan = driver_of(host(os, [RTX4090]), nvidia_driver_source="distribution")
    assert (plan.branch, plan.modules, plan.module) == (branch, "proprietary", "nvidia-current")
    assert "nvidia-kernel-dkms" in plan.packages
    settings = {"nvidia_driver_source": "distribution", "nvidia_driver_modules": "open"}
    observed = [refusal.observed for refusal in planned(host(os, [RTX4090]), **settings).refusals]
    assert any("do not build on kernel" in text for text in observed)
    assert any("firmware-nvidia-gsp" in text for text in observed) == (os == "debian 12")


def test_debians_open_modules_build_where_the_kernel_lacks_the_change() -> None:
    facts = host("debian 13", [RTX4090])
    old = Kernel("6.12.94-custom", True, True, (("HSA_AMD", "y"),))
    facts = replace(facts, found=replace(facts.found, kernels=(old,)))
    plan = driver_of(
        facts,
        nvidia_driver_source="distribution",
        nvidia_driver_modules="open",
        kernel_flavour="keep",
    )
    assert (plan.branch, plan.modules, plan.module) == ("550", "open", "nvidia-current-open")
    assert plan.options == ("NVreg_OpenRmEnableUnsupportedGpus=1",)


def test_a_kernel_that_stays_gets_modules_of_its_own_release() -> None:
    kernels = (Kernel("6.8.0-52-generic", True, True),)
    facts = host("ubuntu 24.04", [RTX4090])
    facts = replace(facts, found=replace(facts.found, kernels=kernels))
    plan = driver_of(facts, kernel_flavour="keep")
    assert plan.packages == ("linux-modules-nvidia-580-server-open-6.8.0-52-generic", *SIGNED[1:])
    there = [(name, "580.95.05-0ubuntu0.24.04.1") for name in SIGNED]
    after = with_found(facts, loaded("580.95.05", "open"), there)
    assert driver_of(after, kernel_flavour="keep").packages == SIGNED  # another hand's, which works
    ours = [(name, "580.95.05-0ubuntu0.24.04.1") for name in plan.packages]
    assert driver_of(with_found(facts, loaded("580.95.05", "open"), ours), kernel_flavour="keep") == plan


@pytest.mark.parametrize(
    ("branch", "names"),
    [
        ("575", ("libnvidia-compute-575", "nvidia-dkms-575-open")),
        ("580", ("nvidia-driver-pinning-580", "libnvidia-compute-580", "nvidia-dkms-580-open")),
        ("595", ("nvidia-driver-pinning-595", "libnvidia-compute", "nvidia-dkms-open")),
    ],
)
def test_nvidias_names_lose_the_branch_at_590(branch: str, names: tuple[str, ...]) -> None:
    plan = driver_of(
        host("ubuntu 24.04", [RTX4090]), nvidia_driver_source="nvidia", nvidia_driver_branch=branch
    )
    assert plan.names[: len(names)] == names
    assert plan.first == tuple(name for name in names if "pinning" in name)


def test_debians_driver_is_older_than_the_kernel_of_backports() -> None:
    refusal = refused(
        host("debian 13", [RTX4090]), nvidia_driver_source="distribution", kernel_flavour="backports"
    )
    assert "do not build on kernel 7.3" in refusal.observed
    assert driver_of(host("debian 13", [RTX4090]), kernel_flavour="backports").source == "nvidia"


def test_a_built_kernel_is_as_new_as_the_releases_own() -> None:
    plan = planned(
        host("debian 13", [RTX4090]),
        nvidia_driver_source="distribution",
        nvidia_driver_modules="open",
        kernel_flavour="built",
        kernel_repository="kernels/debian13",
    )
    assert any("do not build on kernel 6.12.117" in refusal.observed for refusal in plan.refusals)


# Contradictions


@pytest.mark.parametrize(
    ("cards", "settings", "subject", "says"),
    [
        ([V100], {"nvidia_driver_branch": "595"}, "gpu 0000:11:00.0 (Tesla V100 SXM2 32GB, volta)", "last"),
        ([B200], {"nvidia_driver_branch": "535"}, "gpu 0000:11:00.0 (B200, blackwell)", "first"),
        ([P40], {"nvidia_driver_modules": "open"}, "gpu 0000:11:00.0 (Tesla P40, pascal)", "open kernel modules"),
        ([RTX5090], {"nvidia_driver_modules": "proprietary"}, f"gpu 0000:11:00.0 ({RTX5090}, blackwell)", "propri"),
        ([P40, RTX5090], {}, "gpu 0000:11:00.0 (Tesla P40, pascal)", "runs with no others"),
        (["Tesla K80", RTX5090], {}, "gpu 0000:11:00.0 (Tesla K80, kepler)", "last branch is 470"),
        (["Tesla K80"], {}, "gpu 0000:11:00.0 (Tesla K80, kepler)", "470"),
        ([RTX4090], {"nvidia_driver_branch": "577"}, "setting nvidia_driver_branch", "catalogue"),
        (
            [RTX4090],
            {"nvidia_driver_branch": "615", "nvidia_driver_modules": "proprietary"},
            "setting nvidia_driver_modules",
            "no proprietary modules",
        ),
        (
            [RTX4090],
            {"nvidia_driver_branch": "590", "nvidia_driver_source": "distribution"},
            "setting nvidia_driver_branch",
            "have",
        ),
    ],
)  # fmt: skip
def test_refusals_name_card_or_setting(
    cards: list[str], settings: dict[str, object], subject: str, says: str
) -> None:
    refusal = refused(host("ubuntu 24.04", cards), **settings)
    assert refusal.subject == subject
    assert says in refusal.observed
    assert "remove" in refusal.remedy.lower() or "nvidia_driver" in refusal.remedy


def test_no_package_of_debian_drives_blackwell() -> None:
    refusal = refused(host("debian 13", [B200]), nvidia_driver_source="distribution")
    assert refusal.subject.endswith("(B200, blackwell)")
    assert "branch 570 or newer" in refusal.observed and "550" in refusal.observed
    assert driver_of(host("debian 13", [B200])).source == "nvidia"


def test_all_contradictions_at_once() -> None:
    plan = planned(
        host("ubuntu 24.04", [P40, B200]), nvidia_driver_branch="535", nvidia_driver_modules="open"
    )
    assert sorted(refusal.subject for refusal in plan.refusals) == [
        "gpu 0000:11:00.0 (Tesla P40, pascal)",
        "gpu 0000:21:00.0 (B200, blackwell)",
    ]


def test_nvidia_has_no_repository_for_debian_on_arm() -> None:
    facts = replace(host("debian 13", ["GH200 96GB"]), arch="aarch64")
    refusal = refused(facts)
    assert "no repository for debian 13 on aarch64" in refusal.observed
    arm = driver_of(
        replace(host("ubuntu 24.04", ["GH200 96GB"]), arch="aarch64"), nvidia_driver_source="nvidia"
    )
    assert "/sbsa/" in arm.repositories[0].uri and arm.repositories[0].architecture == "arm64"


# Secure Boot


def secure(facts: HostFacts) -> HostFacts:
    return replace(facts, boot=replace(facts.boot, secure_boot="enabled"))


def test_secure_boot_takes_signed_modules_first() -> None:
    assert driver_of(secure(host("ubuntu 24.04", [RTX4090]))).delivery == "prebuilt"
    assert (
        driver_of(secure(host("ubuntu 24.04", [RTX4090])), nvidia_driver_source="nvidia").delivery == "dkms"
    )


def test_secure_boot_and_modules_built_here_need_a_key() -> None:
    """The same driver; the host's steps know that a firmware looks at the signature, and have what asks it."""
    plain = host("debian 13", [RTX4090])
    open_door, secured = (plan_host(facts, read_settings({}), CATALOG) for facts in (plain, secure(plain)))
    assert isinstance(open_door, HostPlan) and isinstance(secured, HostPlan)
    assert driver_of(secure(plain)) == driver_of(plain)
    (module,), (before,) = secured.nvidia_driver.modules, open_door.nvidia_driver.modules
    assert (module.secure_boot, before.secure_boot) == (True, False)
    names = {package.name for package in secured.base.packages}
    assert names - {package.name for package in open_door.base.packages} == {"mokutil", "openssl"}
    assert driver_of(secure(deployed(plain, driver_of(plain)))) == driver_of(plain)


# Whose cards


def test_cards_of_others_get_nothing() -> None:
    facts = host("ubuntu 24.04", [RTX4090])
    address = facts.gpus[0].address
    assert planned(facts, interconnect_display_gpus=(address,)).driver is None
    guest = replace(facts, pci=tuple(replace(device, passthrough=True) for device in facts.pci))
    assert planned(guest).driver is None
    assert planned(host("ubuntu 24.04", ["Radeon PRO W7900"])).driver is None
    two = host("debian 13", [P40, RTX5090])
    plan = driver_of(two, interconnect_display_gpus=(two.gpus[0].address,))
    assert plan.modules == "open"


@pytest.mark.parametrize("where", ["product", "kernel"])
def test_a_jetson_is_refused_without_any_card_on_the_bus(where: str) -> None:
    facts = host("ubuntu 22.04")
    if where == "product":
        machine = replace(facts.machine, product="NVIDIA Jetson AGX Orin Developer Kit")
        facts = replace(facts, machine=machine)
    else:
        facts = replace(
            facts, found=replace(facts.found, kernels=(Kernel("5.15.148-tegra", True, True, ()),))
        )
    refusal = refused(facts)
    assert refusal.subject == "machine" and "Jetson" in refusal.observed


# Boot


@pytest.mark.parametrize("os, nova", [("debian 13", False), ("ubuntu 22.04", False), ("ubuntu 26.04", True)])
def test_modules_at_boot(os: str, nova: bool) -> None:
    plan = driver_of(host(os, [RTX4090]))
    assert plan.load == ("nvidia-uvm",)
    assert plan.blacklist == (("nouveau", "nova_core", "nova_drm") if nova else ("nouveau",))
    assert plan.units == ("nvidia-persistenced.service",)
    assert driver_of(host(os, [RTX4090]), power_persistence=False).units == ()


# Rows


def changed(**rows: object) -> Catalog:
    return replace(CATALOG, nvidia=replace(CATALOG.nvidia, **rows))


FLEET = {
    f"{os} {'+'.join(cards)}": host(os, cards)
    for os in RELEASES
    for cards in ([P40], [RTX4090], [RTX5090], [P40, RTX3090])
}


def moved(rows: Catalog) -> set[str]:
    """The machines whose plan another catalogue changes."""
    return {name for name, facts in FLEET.items() if planned(facts, rows).driver != planned(facts).driver}


def test_ending_the_long_term_branch_moves_those_that_can_go_on() -> None:
    branches = tuple(
        row.model_copy(update={"ended": row.ended or row.branch == 580}) for row in CATALOG.nvidia.branches
    )
    rows = changed(branches=branches)
    assert moved(rows) == {name for name in FLEET if P40 not in name}
    assert {driver_of(FLEET[name], rows).branch for name in moved(rows)} == {"595"}


def test_renaming_a_package_moves_one_release() -> None:
    packages = tuple(
        row.model_copy(update={"packages": ("renamed",)})
        if row.os == ("debian 13",) and row.source_of == "nvidia" and row.modules == "open"
        else row
        for row in CATALOG.nvidia.packages
    )
    assert moved(changed(packages=packages)) == {f"debian 13 {RTX4090}", f"debian 13 {RTX5090}"}


def test_an_architecture_that_open_modules_learn_moves_its_cards_only() -> None:
    rows = tuple(
        row.model_copy(update={"open": "yes"}) if row.arch == "pascal" else row
        for row in CATALOG.nvidia.architectures
    )
    assert moved(changed(architectures=rows)) == {name for name in FLEET if P40 in name}


def test_every_value_has_a_reason() -> None:
    plan = planned(switched(host("debian 12", [RTX4090, "H100 SXM"])))
    paths = [f"drivers.0.{leaf}" for leaf in ("branch", "source", "modules", "packages.0", "blacklist.0")]
    for reason in plan.notes.explain([*paths, "fabric.packages.0", "holds.packages.0"]).values():
        assert reason.reason and reason.source
    assert "2028-06" in plan.notes.explain(["drivers.0.branch"])["drivers.0.branch"].reason
    assert (
        numbers(plan.notes.explain(["drivers.0.branch"])["drivers.0.branch"].reason.split("CUDA ")[1])[0]
        == 13
    )
