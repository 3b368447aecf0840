"""Which NVIDIA driver a host gets, from its cards, its release, what is there and what is declared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from gpuwright import catalog
from gpuwright.catalog import Catalog
from gpuwright.catalog.version import numbers
from gpuwright.errors import Refusal
from gpuwright.facts import NVIDIA, HostFacts, PciDevice
from gpuwright.facts.model import Driver, InstalledPackage, Kernel, Leftover
from gpuwright.plan.fabric import plan_fabric
from gpuwright.plan.gpu_model import DriverPlan, FabricPlan, HoldsPlan
from gpuwright.plan.gpus import plan_gpus
from gpuwright.plan.holds import plan_holds
from gpuwright.plan.kernel import plan_kernel
from gpuwright.plan.notes import Notes
from gpuwright.plan.nvidia import plan_nvidia
from gpuwright.settings import read_settings
from tests.synthetic import host

CATALOG = catalog.load()
P40, V100, B200 = "Tesla P40", "Tesla V100 SXM2 32GB", "B200"
RTX3090, RTX4090, RTX5090 = "GeForce RTX 3090", "GeForce RTX 4090", "GeForce RTX 5090"
RELEASES = ["debian 12", "debian 13", "ubuntu 22.04", "ubuntu 24.04", "ubuntu 26.04"]
SIGNED = (
    "linux-modules-nvidia-580-server-open-generic",
    "nvidia-headless-no-dkms-580-server-open",
    "nvidia-utils-580-server",
    "nvidia-compute-utils-580-server",
)


@dataclass(frozen=True)
class Planned:
    driver: DriverPlan | None
    fabric: FabricPlan
    holds: HoldsPlan
    refusals: list[Refusal]
    notes: Notes


def planned(facts: HostFacts, rows: Catalog = CATALOG, **settings: object) -> Planned:
    notes = Notes()
    read = read_settings(settings)
    gpus = plan_gpus(facts, read, rows, notes)
    kernel = plan_kernel(facts, read, rows, gpus, notes)
    driver = plan_nvidia(facts, read, rows, gpus, kernel, "drivers.0", notes)
    drivers = (driver,) if driver else ()
    fabric = plan_fabric(facts, read, rows, gpus, drivers, notes)
    return Planned(
        driver, fabric, plan_holds(rows, kernel, drivers, fabric, (), notes), notes.refusals, notes
    )


def driver_of(facts: HostFacts, rows: Catalog = CATALOG, **settings: object) -> DriverPlan:
    plan = planned(facts, rows, **settings)
    assert not plan.refusals, plan.refusals
    assert plan.driver
    return plan.driver


def refused(facts: HostFacts, **settings: object) -> Refusal:
    plan = planned(facts, **settings)
    assert plan.driver is None or plan.refusals
    (refusal,) = plan.refusals
    return refusal


def with_found(
    facts: HostFacts,
    driver: Driver | None = None,
    packages: Sequence[tuple[str, str]] = (),
    leftovers: tuple[Leftover, ...] = (),
) -> HostFacts:
    found = facts.found
    more = tuple(InstalledPackage(*package) for package in packages)
    drivers = (driver,) if driver else ()
    return replace(
        facts, found=replace(found, drivers=drivers, packages=(*found.packages, *more), leftovers=leftovers)
    )


def loaded(version: str, modules: str = "open", origin: str = "package") -> Driver:
    return Driver("nvidia", version, modules, origin, loaded=True)


def deployed(facts: HostFacts, plan: DriverPlan) -> HostFacts:
    """The host after a deploy of this plan and a reboot, as the probe would find it."""
    row = CATALOG.nvidia.branch(int(plan.branch))
    assert row
    tails = {("ubuntu", "distribution"): "-0ubuntu0.24.04.1", ("ubuntu", "nvidia"): "-1ubuntu1"}
    version = "550.163.01" if plan.branch == "550" else row.newest
    tail = tails.get((facts.os_id, plan.source), "-1")
    pulled = ["nvidia-persistenced", "libcuda1", "nvidia-container-toolkit"]
    names = [*plan.packages, *(name for name in pulled if name not in plan.packages)]
    versions = {"nvidia-container-toolkit": "1.20.0-1", "nvidia-driver-pinning-580": "580-1"}
    others = tuple(p for p in facts.found.packages if not CATALOG.nvidia.is_driver_package(p.name, p.version))
    bare = replace(facts, found=replace(facts.found, packages=others))
    return with_found(
        bare,
        loaded(version, plan.modules),
        [(name, versions.get(name, version + tail)) for name in names],
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
    assert (ubuntu.repositories, ubuntu.module) == ((), "nvidia")
    debian = driver_of(host("debian 13", [RTX4090]))
    assert (debian.source, debian.delivery, debian.module) == ("nvidia", "dkms", "nvidia")
    assert debian.packages[0] == "nvidia-driver-pinning-580"
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
    assert plan.packages[: len(names)] == names


def test_debians_driver_is_older_than_the_kernel_of_backports() -> None:
    refusal = refused(
        host("debian 13", [RTX4090]), nvidia_driver_source="distribution", kernel_flavour="backports"
    )
    assert "do not build on kernel 7.2" in refusal.observed
    assert driver_of(host("debian 13", [RTX4090]), kernel_flavour="backports").source == "nvidia"


def test_a_built_kernel_is_as_new_as_the_releases_own() -> None:
    plan = planned(
        host("debian 13", [RTX4090]),
        nvidia_driver_source="distribution",
        nvidia_driver_modules="open",
        kernel_flavour="built",
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
            {"nvidia_driver_branch": "595", "nvidia_driver_source": "distribution"},
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


def test_secure_boot_takes_signed_modules_or_a_driver_that_loaded() -> None:
    assert driver_of(secure(host("ubuntu 24.04", [RTX4090]))).delivery == "prebuilt"
    refusal = refused(secure(host("debian 13", [RTX4090])))
    assert (refusal.subject, "mokutil" in refusal.remedy) == ("secure boot", True)
    assert (
        refused(secure(host("ubuntu 24.04", [RTX4090])), nvidia_driver_source="nvidia").subject
        == "secure boot"
    )
    plain = host("debian 13", [RTX4090])
    plan = driver_of(plain)
    assert driver_of(secure(deployed(plain, plan))) == plan


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


# What is there already


def variants() -> list[tuple[HostFacts, dict[str, object]]]:
    hosts: list[tuple[HostFacts, dict[str, object]]] = []
    for os in RELEASES:
        for cards in ([RTX4090], [P40, RTX3090], [B200], ["H200 SXM"] * 2):
            hosts.append((host(os, cards), {}))
        hosts.append((host(os, [RTX4090]), {"nvidia_driver_source": "nvidia"}))
        hosts.append((host(os, [RTX4090]), {"nvidia_driver_existing": "replace"}))
        hosts.append((host(os, [RTX4090]), {"nvidia_driver_source": "nvidia", "nvidia_driver_branch": "595"}))
        hosts.append((host(os, [RTX4090]), {"nvidia_driver_source": "distribution"}))
    hosts.append((host("ubuntu 24.04", [RTX4090], "oem"), {}))
    return hosts


@pytest.mark.parametrize("facts, settings", variants())
def test_what_a_deploy_installed_gives_the_same_plan(facts: HostFacts, settings: dict[str, object]) -> None:
    plan = driver_of(facts, **settings)
    after = deployed(facts, plan)
    assert driver_of(after, **settings) == plan
    unbooted = replace(after, found=replace(after.found, drivers=()))
    assert driver_of(unbooted, **settings) == plan


def test_a_driver_of_another_branch_that_fits_is_adopted() -> None:
    names = ("libnvidia-compute-570", "nvidia-dkms-570-open", "nvidia-utils-570", "nvidia-compute-utils-570")
    facts = with_found(
        host("ubuntu 24.04", [RTX4090]),
        loaded("570.211.01"),
        [(name, "570.211.01-1ubuntu1") for name in names],
    )
    plan = driver_of(facts)
    assert (plan.source, plan.branch, plan.delivery, plan.packages) == ("nvidia", "570", "dkms", names)
    assert driver_of(deployed(facts, plan)) == plan


def test_a_desktop_set_is_adopted_by_its_own_names() -> None:
    names = ["nvidia-driver-580-open", "libnvidia-compute-580", "nvidia-dkms-580-open", "libnvidia-gl-580"]
    facts = with_found(
        host("ubuntu 24.04", [RTX4090]),
        loaded("580.95.05"),
        [(name, "580.95.05-0ubuntu0.24.04.1") for name in names],
    )
    plan = driver_of(facts)
    assert (plan.source, plan.branch, plan.units) == ("distribution", "580", ())
    assert plan.packages == tuple(sorted(names))
    assert driver_of(facts) == plan


def test_a_branch_that_no_row_brings_is_adopted_by_its_own_names() -> None:
    names = ("libnvidia-compute-595", "nvidia-driver-595-open")
    meta = ("linux-modules-nvidia-595-open-generic", "6.8.0-87.88")
    facts = with_found(
        host("ubuntu 24.04", [RTX4090]),
        loaded("595.84"),
        [meta, *((name, "595.84-0ubuntu0.24.04.1") for name in names)],
    )
    plan = driver_of(facts)
    assert (plan.source, plan.branch, plan.delivery, plan.packages) == (
        "distribution",
        "595",
        "prebuilt",
        names,
    )


def test_one_that_does_not_fit_is_replaced_within_its_source() -> None:
    names = ["libnvidia-compute-535", "nvidia-dkms-535", "nvidia-utils-535", "nvidia-compute-utils-535"]
    facts = with_found(
        host("ubuntu 24.04", [B200]),
        loaded("535.274.02", "proprietary"),
        [(name, "535.274.02-1ubuntu1") for name in names],
    )
    plan = driver_of(facts)
    assert (plan.source, plan.branch, plan.modules) == ("nvidia", "580", "open")
    assert driver_of(deployed(facts, plan)) == plan


def test_packages_without_a_module_are_no_driver_that_works() -> None:
    names = ["libnvidia-compute-570", "nvidia-dkms-570-open", "nvidia-utils-570", "nvidia-compute-utils-570"]
    facts = with_found(
        host("ubuntu 24.04", [RTX4090]), None, [(name, "570.211.01-1ubuntu1") for name in names]
    )
    plan = driver_of(facts)
    assert (plan.source, plan.branch) == ("nvidia", "580")


def test_one_that_does_not_fit_is_never_replaced_by_another_source() -> None:
    facts = with_found(
        host("debian 13", [B200]),
        loaded("550.163.01", "proprietary"),
        [(name, "550.163.01-2") for name in ("nvidia-kernel-dkms", "nvidia-smi", "libcuda1")],
    )
    refusal = refused(facts)
    assert refusal.subject == "nvidia driver" and "purge" in refusal.remedy
    there = with_found(
        host("debian 13", [RTX4090]),
        loaded("550.163.01", "proprietary"),
        [(name, "550.163.01-2") for name in ("nvidia-kernel-dkms", "nvidia-smi", "libcuda1")],
    )
    assert driver_of(there).source == "distribution"
    assert 'nvidia_driver_source = "distribution"' in refused(there, nvidia_driver_existing="replace").remedy
    assert 'nvidia_driver_source is "nvidia"' in refused(there, nvidia_driver_source="nvidia").observed


def test_two_sources_at_once_are_refused() -> None:
    facts = with_found(
        host("ubuntu 24.04", [RTX4090]),
        loaded("580.95.05"),
        [
            ("libnvidia-compute-580", "580.95.05-0ubuntu0.24.04.1"),
            ("nvidia-dkms-580-open", "580.126.20-1ubuntu1"),
        ],
    )
    assert "installed together" in refused(facts).observed


def test_a_run_file_is_adopted_where_it_fits() -> None:
    left = (Leftover("nvidia-run", "/usr/bin/nvidia-uninstall"),)
    facts = with_found(host("ubuntu 22.04", [RTX3090]), loaded("570.211.01", "open", "run"), (), left)
    plan = driver_of(facts)
    assert (plan.source, plan.branch, plan.modules, plan.delivery) == (
        "unmanaged",
        "570",
        "open",
        "unmanaged",
    )
    assert (plan.packages, plan.units, plan.blacklist, plan.repositories) == ((), (), (), ())
    for settings in (
        {"nvidia_driver_existing": "replace"},
        {"nvidia_driver_branch": "580"},
        {"nvidia_driver_modules": "proprietary"},
        {"nvidia_driver_source": "distribution"},
    ):
        assert "nvidia-uninstall" in refused(facts, **settings).remedy
    dead = with_found(host("ubuntu 22.04", [RTX3090]), None, (), left)
    assert "nvidia-uninstall" in refused(dead).remedy
    beside = with_found(facts, loaded("570.211.01"), [("nvidia-dkms-570-open", "570.211.01-1ubuntu1")], left)
    assert "beside" in refused(beside).observed


def test_in_a_container_the_outer_hosts_driver_is_what_there_is() -> None:
    inside = replace(host("ubuntu 24.04", ["H200 SXM"]), virtualisation="docker")
    facts = with_found(inside, loaded("570.211.01", "open", "outside"))
    plan = driver_of(facts)
    assert (plan.source, plan.branch, plan.packages) == ("unmanaged", "570", ())
    assert "outer host" in refused(facts, nvidia_driver_branch="580").remedy
    assert "container" in refused(inside).observed


def test_a_driver_of_unknown_origin_stays_unmanaged() -> None:
    facts = with_found(host("ubuntu 24.04", ["H200 SXM"]), loaded("580.95.05", "unknown", "unknown"))
    assert driver_of(facts).source == "unmanaged"
    assert planned(with_found(host("ubuntu 24.04", [B200]), loaded("580.95.05", "unknown"))).refusals


# Boot


@pytest.mark.parametrize("os, nova", [("debian 13", False), ("ubuntu 22.04", False), ("ubuntu 26.04", True)])
def test_modules_at_boot(os: str, nova: bool) -> None:
    plan = driver_of(host(os, [RTX4090]))
    assert plan.load == ("nvidia-uvm",)
    assert plan.blacklist == (("nouveau", "nova_core", "nova_drm") if nova else ("nouveau",))
    assert plan.units == ("nvidia-persistenced.service",)
    assert driver_of(host(os, [RTX4090]), power_persistence=False).units == ()


# NVSwitch


def switched(facts: HostFacts, passthrough: bool = False) -> HostFacts:
    switch = PciDevice("0000:f0:00.0", "068000", NVIDIA, "22a3", passthrough=passthrough)
    return replace(facts, pci=(*facts.pci, switch))


def test_fabric_manager_exactly_with_nvswitch() -> None:
    facts = host("ubuntu 22.04", ["H100 SXM"] * 8)
    assert planned(facts).fabric == FabricPlan((), (), ())
    fabric = planned(switched(facts)).fabric
    assert fabric.packages == ("nvidia-fabricmanager-580", "libnvidia-nscq-580")
    assert fabric.units == ("nvidia-fabricmanager.service",)
    assert planned(switched(facts, passthrough=True)).fabric.packages == ()


def test_real_names_since_580_in_nvidias_repository() -> None:
    facts = switched(host("debian 13", ["H100 SXM"] * 8))
    plan = planned(facts)
    assert plan.fabric.packages == ("nvidia-fabricmanager", "libnvidia-nscq")
    assert planned(facts, nvidia_driver_branch="595").fabric.packages[0] == "nvidia-fabricmanager"
    assert set(plan.fabric.packages) <= set(plan.holds.packages)


def test_nvlink5_boards_hide_their_switches() -> None:
    metal = host("debian 13", [B200] * 8)
    assert planned(metal).fabric.packages[-2:] == ("nvlsm", "infiniband-diags")
    assert planned(metal).fabric.modules == ("ib_umad", "mlx5_ib")
    ubuntu = planned(host("ubuntu 24.04", [B200] * 8))  # whose archive has no manager of these switches
    assert (ubuntu.driver.source, ubuntu.fabric.packages[-2]) == ("nvidia", "nvlsm")
    declared = planned(host("ubuntu 24.04", [B200] * 8), nvidia_driver_source="distribution")
    assert [refusal.subject for refusal in declared.refusals] == ["fabric manager"]
    guest = replace(host("debian 13", [B200] * 2), virtualisation="kvm")
    assert planned(guest).fabric.packages == ()
    assert planned(replace(metal, virtualisation="kvm")).fabric.packages


def test_nvswitch_without_a_fabric_manager_is_refused() -> None:
    facts = switched(host("debian 13", ["A100 SXM4 80GB"] * 8))
    plan = planned(facts, nvidia_driver_source="distribution")
    assert [refusal.subject for refusal in plan.refusals] == ["fabric manager"]
    run = with_found(facts, loaded("580.95.05", "open", "run"))
    assert [refusal.subject for refusal in planned(run).refusals] == ["fabric manager"]
    inside = with_found(replace(facts, virtualisation="docker"), loaded("580.95.05", "open", "outside"))
    assert (planned(inside).fabric.packages, planned(inside).refusals) == ((), [])


# Holds


def test_the_whole_set_is_held() -> None:
    plan = planned(switched(host("ubuntu 24.04", ["H100 SXM"] * 8)))
    assert set(SIGNED) | {"nvidia-fabricmanager-580", "linux-image-generic"} <= set(plan.holds.packages)
    assert plan.holds.packages == tuple(sorted(set(plan.holds.packages)))
    assert {"nvidia-", "libnvidia-", "linux-image-"} <= set(plan.holds.unattended)


def test_nothing_is_held_without_a_card_or_with_another_hands_driver() -> None:
    assert planned(host("debian 13")).holds == HoldsPlan((), ())
    inside = replace(host("ubuntu 24.04", [RTX4090]), virtualisation="docker")
    facts = with_found(inside, loaded("580.95.05", "open", "outside"))
    assert planned(facts).holds == HoldsPlan((), ())


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
