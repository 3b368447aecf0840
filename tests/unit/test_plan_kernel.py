"""Which kernel a host gets, from what is there, what its cards need and what is declared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpuwright import catalog
from gpuwright.catalog.kernels import BuildRow
from gpuwright.errors import Refusal
from gpuwright.facts import HostFacts
from gpuwright.facts.model import Found, InstalledPackage
from gpuwright.kernel_build import wanted
from gpuwright.plan.gpu_model import KernelPlan
from gpuwright.plan.gpus import plan_gpus
from gpuwright.plan.kernel import plan_kernel
from gpuwright.plan.kernel.choice import built_version
from gpuwright.plan.kernel.policy import build_command
from gpuwright.plan.notes import Notes
from gpuwright.settings import read_settings
from tests.synthetic import host, kernel_row, running, with_kernel

CATALOG = catalog.load()
W7900 = "Radeon PRO W7900"
BUILT = {"kernel_flavour": "built", "kernel_repository": "kernels/of-release", "interconnect_p2p": "wanted"}


def planned(facts: HostFacts, **settings: object) -> tuple[KernelPlan, list[Refusal], Notes]:
    notes = Notes()
    read = read_settings(settings)
    gpus = plan_gpus(facts, read, CATALOG, notes)
    return plan_kernel(facts, read, CATALOG, gpus, notes), notes.refusals, notes


def kernel(facts: HostFacts, **settings: object) -> KernelPlan:
    plan, refusals, _ = planned(facts, **settings)
    assert not refusals, refusals
    return plan


def refused(facts: HostFacts, **settings: object) -> Refusal:
    _, refusals, _ = planned(facts, **settings)
    (refusal,) = refusals
    return refusal


@pytest.mark.parametrize("os", ["debian 12", "debian 13", "ubuntu 22.04", "ubuntu 24.04", "ubuntu 26.04"])
def test_the_releases_own_kernel_serves_nvidia(os: str) -> None:
    plan = kernel(host(os, ["GeForce RTX 4090"]))
    assert plan.flavour == "ga"
    assert [name.partition("-")[2].partition("-")[0] for name in plan.packages] == ["image", "headers"]
    assert (plan.arguments, plan.config, plan.fallback) == ((), (), "grubenv")


def test_no_gpu_asks_for_nothing() -> None:
    plan = kernel(host("debian 13"))
    assert (plan.flavour, plan.packages, plan.arguments) == ("keep", (), ())


@pytest.mark.parametrize(
    "os, flavour", [("debian 13", "backports"), ("debian 13", "rt"), ("debian 13", "cloud")]
)
def test_the_flavour_that_is_there_is_adopted(os: str, flavour: str) -> None:
    assert kernel(host(os, ["GeForce RTX 4090"], flavour)).flavour == flavour


def test_an_installed_metapackage_is_enough_to_be_adopted() -> None:
    facts = host("ubuntu 24.04", ["GeForce RTX 4090"])
    hwe = InstalledPackage("linux-image-generic-hwe-24.04", "6.17.0-14.14")
    facts = replace(facts, found=replace(facts.found, packages=(*facts.found.packages, hwe)))
    assert kernel(facts).flavour == "hwe"


def test_cloud_kernel_without_amdgpu_is_replaced_for_amd_only() -> None:
    plan = kernel(host("debian 13", [W7900], "cloud"))
    assert (plan.flavour, plan.packages[0]) == ("ga", "linux-image-amd64")
    assert kernel(host("debian 13", ["L40S"], "cloud")).packages[0] == "linux-image-cloud-amd64"
    assert "amdgpu" in refused(host("debian 13", [W7900], "cloud"), kernel_flavour="keep").observed


def test_ubuntus_virtual_kernel_has_the_generic_name_and_fewer_modules() -> None:
    assert kernel(host("ubuntu 24.04", ["L40S"], "cloud")).packages[0] == "linux-image-virtual"
    assert kernel(host("ubuntu 24.04", [W7900], "cloud")).packages[0] == "linux-image-generic"


def test_a_card_newer_than_the_releases_kernel_gets_a_newer_one() -> None:
    plan, _, notes = planned(host("debian 12", ["Radeon AI PRO R9700"]))
    assert (plan.flavour, plan.suite) == ("backports", "bookworm-backports")
    assert "R9700" in notes.explain(["kernel.flavour"])["kernel.flavour"].reason
    refusal = refused(host("debian 12", ["Radeon AI PRO R9700"]), kernel_flavour="ga")
    assert "R9700" in refusal.observed and 'kernel_flavour = "backports"' in refusal.remedy


def test_amds_own_driver_counts_where_amd_supports_it() -> None:
    assert kernel(host("debian 12", ["Instinct MI300X"] * 8)).flavour == "ga"
    in_tree = kernel(host("debian 12", ["Instinct MI300X"] * 8), rocm_driver="in-tree")
    assert in_tree.flavour == "backports"


def test_p2p_on_debian_is_refused_with_three_ways_out() -> None:
    refusal = refused(host("debian 12", [W7900] * 2), interconnect_p2p="wanted")
    assert "HSA_AMD_P2P" in refusal.required
    ways = refusal.remedy.split(";")
    assert len(ways) == 3
    assert 'kernel_flavour = "built"' in ways[0]
    assert "Ubuntu 24.04" in ways[1]
    assert "layers" in ways[2] and 'interconnect_p2p = "off"' in ways[2]


def test_p2p_on_2204_takes_the_newer_kernel() -> None:
    plan = kernel(host("ubuntu 22.04", [W7900] * 2), interconnect_p2p="wanted")
    assert plan.packages == ("linux-image-generic-hwe-22.04", "linux-headers-generic-hwe-22.04")
    assert plan.arguments == ()
    keep = {"interconnect_p2p": "wanted", "kernel_flavour": "keep"}
    _, refusals, _ = planned(host("ubuntu 22.04", [W7900] * 2), **keep)
    assert [refusal.required.partition(",")[0] for refusal in refusals] == [
        "Linux 6.1 or newer",
        "HSA_AMD_P2P=y",
    ]
    assert all('kernel_flavour = "hwe"' in refusal.remedy for refusal in refusals)


@pytest.mark.parametrize("cards", [[W7900], [W7900, "GeForce RTX 4090"], ["Instinct MI300X"] * 8])
def test_p2p_needs_no_kernel_without_a_pair_that_has_only_pcie(cards: list[str]) -> None:
    assert kernel(host("debian 13", cards), interconnect_p2p="wanted").flavour == "ga"


@pytest.mark.parametrize(
    "os, cards, image",
    [("debian 12", [W7900] * 2, "linux-image-p2p-6.1"),
     ("debian 12", ["Radeon AI PRO R9700"], "linux-image-p2p-6.12"),
     ("debian 13", [W7900] * 2, "linux-image-p2p-6.12")],
)  # fmt: skip
def test_a_built_kernel_is_a_package_with_the_symbols(os: str, cards: list[str], image: str) -> None:
    plan = kernel(host(os, cards), **BUILT)
    assert (plan.packages, plan.suite) == ((image,), "")
    assert plan.config == ("PCI_P2PDMA=y", "DMABUF_MOVE_NOTIFY=y", "HSA_AMD_P2P=y")


def test_a_built_kernel_needs_a_folder_that_has_it() -> None:
    settings = {key: value for key, value in BUILT.items() if key != "kernel_repository"}
    refusal = refused(host("debian 13", [W7900] * 2), **settings)
    assert refusal.subject == "setting kernel_repository"
    assert "gpuwright kernel build --base debian13 --enable p2p --output" in refusal.remedy
    assert 'kernel_repository = "kernels/debian13"' in refusal.remedy
    newer = refused(host("debian 12", ["Radeon AI PRO R9700"]), **settings)
    assert "--base debian12 --series 6.12 --enable p2p" in newer.remedy


@pytest.mark.parametrize("row", CATALOG.kernels.builds, ids=lambda row: f"{row.os} {row.series}")
def test_the_command_that_refusals_name_builds_what_the_plan_asks_for(row: BuildRow) -> None:
    words = build_command(row, CATALOG).split()
    told = dict(zip(words[3::2], words[4::2], strict=True))
    found = wanted.source(told["--base"], told.get("--suite", ""), told.get("--series", ""))
    assert found == row
    assert wanted.wanted(found, None, reduced=False).metapackage == row.image
    assert wanted.wanted(found, None, reduced=True).metapackage != row.image


def test_a_built_kernel_is_not_for_secure_boot_or_ubuntu() -> None:
    facts = host("debian 13", [W7900] * 2)
    locked = replace(facts, boot=replace(facts.boot, secure_boot="enabled"))
    assert "Secure Boot" in refused(locked, **BUILT).observed
    assert "no kernel source" in refused(host("ubuntu 24.04", [W7900]), kernel_flavour="built").observed


def test_a_flavour_that_the_release_lacks_is_refused() -> None:
    refusal = refused(host("ubuntu 24.04", ["L40S"]), kernel_flavour="backports")
    assert "backports" in refusal.observed and "hwe" in refusal.observed


def foreign(config: dict[str, str]) -> HostFacts:
    facts = host("debian 12", [W7900] * 2)
    return running(replace(facts, found=Found()), "6.8.12-4-pve", config)


def test_a_kernel_of_another_hand_is_kept_and_judged_by_its_configuration() -> None:
    able = {"DRM_AMDGPU": "m", "HSA_AMD": "y", "HSA_AMD_P2P": "y"}
    for settings in ({}, {"kernel_flavour": "keep"}):
        assert kernel(foreign(able), interconnect_p2p="wanted", **settings).flavour == "keep"
    refusal = refused(foreign({**able, "HSA_AMD_P2P": "n"}), interconnect_p2p="wanted")
    assert "6.8.12-4-pve" in refusal.observed and "HSA_AMD_P2P" in refusal.observed
    assert "could not be read" in refused(foreign({}), interconnect_p2p="wanted").observed
    assert kernel(foreign({})).flavour == "keep"


@pytest.mark.parametrize("settings, arguments", [
    ({}, ("iommu=pt",)),
    ({"interconnect_iommu": "leave"}, ()),
    ({"interconnect_isolation": True}, ()),
    ({"kernel_arguments": ["quiet"]}, ("iommu=pt", "quiet")),
    ({"kernel_arguments": ["iommu=pt"]}, ("iommu=pt",)),
])  # fmt: skip
def test_radeon_without_p2p_and_instinct_get_passthrough(
    settings: dict[str, object], arguments: tuple[str, ...]
) -> None:
    assert kernel(host("debian 13", [W7900] * 2), **settings).arguments == arguments
    assert kernel(host("debian 13", ["Instinct MI300X"] * 8), **settings).arguments == arguments


def test_radeon_that_tries_p2p_gets_the_default_mode() -> None:
    assert kernel(host("ubuntu 24.04", [W7900] * 2)).arguments == ()


def test_p2p_that_is_off_is_off_in_the_driver() -> None:
    arguments = kernel(host("ubuntu 24.04", [W7900] * 2), interconnect_p2p="off").arguments
    assert arguments == ("iommu=pt", "amdgpu.pcie_p2p=0")
    assert kernel(host("debian 13", [W7900] * 2), interconnect_p2p="off").arguments == ("iommu=pt",)


@pytest.mark.parametrize("os, words", [("debian 13", ("intel_iommu=on",)), ("ubuntu 24.04", ())])
def test_debians_kernel_wants_to_be_asked_for_intels_iommu(os: str, words: tuple[str, ...]) -> None:
    facts = replace(host(os, ["L40S"]), cpu_vendor="GenuineIntel", cpu_family=6)
    assert kernel(facts, interconnect_iommu="remapping").arguments == words
    assert kernel(facts, interconnect_iommu="passthrough").arguments == ("iommu=pt", *words)
    assert kernel(facts, interconnect_iommu="leave").arguments == ()


@pytest.mark.parametrize("os, packages, version", [
    ("debian 12", "linux-image-p2p-6.1", "6.1.192"),
    ("debian 12", "linux-image-p2p-6.12", "6.12.117"),
    ("debian 13", "linux-image-p2p-6.12", "6.12.117"),
    ("debian 13", "linux-image-p2p-7.3", "7.3.4"),
    ("debian 13", "linux-image-p2p-reduced-6.12", ""),
])  # fmt: skip
def test_a_built_kernel_has_the_version_of_its_source(os: str, packages: str, version: str) -> None:
    plan = KernelPlan("built", "", tuple(packages.split()), (), (), "none")
    assert built_version(CATALOG, os, plan) == version


def test_words_that_contradict_each_other_are_refused() -> None:
    refusal = refused(host("debian 13", [W7900]), kernel_arguments=["iommu=off"])
    assert "iommu=off" in refusal.observed and "iommu=pt" in refusal.observed


@pytest.mark.parametrize("loader, grubenv, way", [
    ("grub", "plain", "grubenv"), ("systemd-boot", "none", "systemd-boot"), ("grub", "lvm", "none"),
    ("grub", "unknown", "none"), ("none", "unknown", "none"),
])  # fmt: skip
def test_fallback_is_what_the_boot_loader_can(loader: str, grubenv: str, way: str) -> None:
    facts = host("debian 12", ["Radeon AI PRO R9700"])
    facts = replace(facts, boot=replace(facts.boot, loader=loader, grubenv=grubenv))
    if way == "none":
        refusal = refused(facts)
        assert grubenv in refusal.observed and 'kernel_reboot = "no_fallback"' in refusal.remedy
    assert kernel(facts, kernel_reboot="no_fallback").fallback == way


def test_no_fallback_is_needed_where_no_other_kernel_is() -> None:
    facts = host("debian 13", ["L40S"])
    assert kernel(replace(facts, boot=replace(facts.boot, grubenv="btrfs"))).fallback == "none"


def test_a_container_has_another_machines_kernel() -> None:
    facts = replace(host("debian 13", [W7900] * 2), virtualisation="docker")
    plan = kernel(facts)
    assert (plan.flavour, plan.packages, plan.arguments, plan.fallback) == ("keep", (), (), "none")
    assert "container" in refused(facts, kernel_flavour="ga").observed
    assert "container" in refused(facts, kernel_arguments=["quiet"]).observed
    assert "around this container" in refused(facts, interconnect_p2p="wanted").remedy


def test_a_guest_has_no_iommu_of_its_own() -> None:
    facts = replace(host("debian 13", [W7900]), virtualisation="kvm")
    assert kernel(facts).arguments == ()


@pytest.mark.parametrize(
    "flavours", [("cloud", "ga"), ("ga", "backports"), ("backports", "ga"), ("rt", "cloud")]
)
@pytest.mark.parametrize("card", ["GeForce RTX 4090", W7900])
def test_what_it_chose_is_what_it_finds(flavours: tuple[str, str], card: str) -> None:
    """Two flavours installed, the second running: after a deploy of the choice, the choice is the same."""
    os = "debian 13"
    facts = with_kernel(host(os, [card], flavours[0]), kernel_row(os, flavours[1]))
    first = kernel(facts)
    row = next(r for r in CATALOG.kernels.offered(os) if (r.flavour, r.suite) == (first.flavour, first.suite))
    assert kernel(with_kernel(facts, row)) == first
