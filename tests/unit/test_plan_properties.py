"""What holds for every host: supported ones get a plan, others a refusal that names why, and nobody a traceback."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.vendor.pretty import RepresentationPrinter

from gpuwright import catalog
from gpuwright.errors import Refusal
from gpuwright.facts import HostFacts, PciDevice
from gpuwright.facts.model import (
    CONTAINERS,
    Boot,
    Driver,
    Found,
    InstalledPackage,
    Kernel,
    Leftover,
    Machine,
    Nic,
)
from gpuwright.plan import HostPlan, plan_host
from gpuwright.settings import read_settings
from tests.plan_apply import applied
from tests.synthetic import bridge, gpu, gpu_row, host, in_slots, release_of, with_kernel

CATALOG = catalog.load()
FULL = os.environ.get("GPUWRIGHT_FULL") == "1"
# The same hosts in every run of bin/test, so that it is red only for a change; --full looks at new ones, and at more.
HOSTS = settings(deadline=None, derandomize=not FULL, max_examples=5000 if FULL else 900)
FEWER = settings(HOSTS, max_examples=2000 if FULL else 400)

DEBIAN = ("debian 12", "debian 13")
RELEASES = (*DEBIAN, "ubuntu 22.04", "ubuntu 24.04", "ubuntu 26.04")
# By hand, from AMD's and NVIDIA's own tables: cards that one driver of today runs together, on all of RELEASES.
OLD = ("Tesla P40", "Tesla P100 PCIe 16GB", "Tesla V100 PCIe 32GB", "GeForce GTX 1080 Ti", "Tesla M40")
EVER = ("Tesla T4", "GeForce RTX 3090", "GeForce RTX 4090", "A100 PCIe 80GB", "L40S", "H100 SXM", "H200 SXM")
NEW = ("B200", "GeForce RTX 5090")
RADEON = ("Radeon PRO W7900", "Radeon RX 7900 XTX")
INSTINCT = ("Instinct MI300X", "Instinct MI250X", "Instinct MI355X")
GRACE = "GH200 96GB"
BEHIND_SWITCHES = ("H100 SXM", "H200 SXM")
SWITCH = PciDevice("0000:f0:00.0", "068000", "10de", "22a3")
NOUVEAU = Driver("nouveau", "", "in-tree", "kernel", True)


@dataclass(frozen=True, repr=False)
class Case:
    """A host and what is declared for it."""

    facts: HostFacts
    declared: dict[str, object]

    def __repr__(self) -> str:
        facts, found = self.facts, self.facts.found
        cards = [f"{card.address} {card.vendor}:{card.device}" for card in facts.pci if card.vendor != "1022"]
        packages = [f"{package.name}={package.version}" for package in found.packages]
        kernels = [kernel.release for kernel in found.kernels if kernel.running]
        there = f"{cards} {packages} {found.drivers}"
        return f"{self.os} {facts.arch} {facts.virtualisation} {kernels} {there} {self.declared}"

    def _repr_pretty_(self, printer: RepresentationPrinter, cycle: bool) -> None:
        """For hypothesis, which would print every field of the facts."""
        printer.text(repr(self))

    @property
    def os(self) -> str:
        return f"{self.facts.os_id} {self.facts.os_version}"

    def plan(self) -> HostPlan | tuple[Refusal, ...]:
        return plan_host(self.facts, read_settings(self.declared), CATALOG)

    def with_cards(self, *names: str) -> Case:
        """With more cards, at the bus's last addresses."""
        more = tuple(gpu(gpu_row(name), f"0000:e{n}:00.0") for n, name in enumerate(names))
        return replace(self, facts=replace(self.facts, pci=(*self.facts.pci, *more)))

    def saying(self, **declared: object) -> Case:
        return replace(self, declared={**self.declared, **declared})


def without_none(words: dict[str, object | None]) -> dict[str, object]:
    return {key: value for key, value in words.items() if value is not None}


@st.composite
def devices(draw: st.DrawFn, cards: list[str]) -> tuple[PciDevice, ...]:
    """The cards in slots of their own or behind one switch, and the NVSwitches that some come with."""
    tree = in_slots(cards)
    if draw(st.booleans()):
        up = ("0000:01:01.0", "0000:02:00.0")
        tree = (bridge(up[0]), bridge(up[1], acs=False, parents=up[:1]))
        for index, name in enumerate(cards):
            port = f"0000:03:{index:02x}.0"
            acs = draw(st.sampled_from([True, False, None]))
            below = gpu(gpu_row(name), f"0000:{16 + index:02x}:00.0", (*up, port))
            tree += (bridge(port, acs=acs, parents=up), below)
    return (*tree, SWITCH) if set(cards) & set(BEHIND_SWITCHES) and draw(st.booleans()) else tree


@st.composite
def supported(draw: st.DrawFn) -> Case:
    """A combination that the vendors support: release, kernel, cards of one vendor or two, firmware, network."""
    os = draw(st.sampled_from(RELEASES))
    generation = draw(st.sampled_from([(*OLD, *EVER), (*EVER, *NEW)]))
    nvidia = draw(st.lists(st.sampled_from(generation), max_size=4))
    amd = draw(st.lists(st.sampled_from(draw(st.sampled_from([RADEON, INSTINCT]))), max_size=4))
    grace = draw(st.sampled_from([False] * 7 + [os.startswith("ubuntu")]))
    if grace:
        nvidia, amd = draw(st.lists(st.just(GRACE), min_size=1, max_size=4)), []
    facts = replace(host(os), arch="aarch64", found=Found()) if grace else host(os)
    kernels = CATALOG.kernels.offered(os)
    for row in draw(st.lists(st.sampled_from(kernels), min_size=int(grace), max_size=2)):
        facts = with_kernel(facts, row)
    cpu = draw(st.sampled_from([("AuthenticAMD", 25), ("AuthenticAMD", 21), ("GenuineIntel", 6), ("", None)]))
    nics = draw(
        st.sampled_from(
            [(), (Nic("eth0", default_route=True),), (Nic("ib0", rdma="mlx5_0"), Nic("", rdma="mlx5_1"))]
        )
    )
    facts = replace(
        facts,
        pci=draw(devices([*nvidia, *amd])),
        nics=nics,
        cpu_vendor=cpu[0],
        cpu_family=cpu[1],
        virtualisation=draw(st.sampled_from(["none", "none", "kvm"])),
        boot=draw(st.sampled_from([
            Boot("uefi", "grub", "disabled", "plain"), Boot("bios", "grub", "unsupported", "plain"),
            Boot("uefi", "systemd-boot", "disabled", "none"),
        ])),
        found=replace(facts.found, drivers=draw(st.sampled_from([(), (NOUVEAU,)]))),
    )  # fmt: skip
    declared = {
        # Debian 12's Docker knows no CDI
        "container_engine_source": "docker.com" if os == "debian 12" else None,
        "interconnect_p2p": draw(st.sampled_from([None, "auto", "off"])),
        "interconnect_iommu": draw(st.sampled_from([None, "leave", "passthrough", "remapping"])),
        "interconnect_isolation": draw(st.sampled_from([None, True])),
        "power_persistence": draw(st.sampled_from([None, False])),
        "kernel_flavour": draw(st.sampled_from([None, None if amd else "keep", None if amd else "ga"])),
        "kernel_reboot": draw(st.sampled_from([None, "no_fallback"])),
    }
    return Case(facts, without_none(declared))


def whole(plan: HostPlan) -> None:
    """What every plan has: reasons for all of it, and drivers of one source for each vendor."""
    assert set(plan.why) == {path for path, _ in plan.leaves()}
    assert all(reason.reason.strip() and reason.source.strip() for reason in plan.why.values())
    assert len({driver.vendor for driver in plan.drivers}) == len(plan.drivers)
    for driver in plan.drivers:
        repositories = {repository.name for repository in driver.repositories}
        assert ("nvidia-cuda" in repositories) == (driver.source == "nvidia")
        assert driver.source == "amd" or "amdgpu-dkms" not in driver.packages


def sources_of(facts: HostFacts) -> set[str]:
    """Whose NVIDIA driver packages are on a host, by the marks that they carry."""
    os = f"{facts.os_id} {facts.os_version}"
    ours = [p for p in facts.found.packages if CATALOG.nvidia.is_driver_package(p.name, p.version)]
    rows = [row for row in CATALOG.nvidia.origins if os in row.os]
    return {row.source_of for row in rows for p in ours if row.marks(p.name, p.version)}


@HOSTS
@given(supported())
def test_supported_hosts_get_a_plan_that_is_a_fixed_point(case: Case) -> None:
    plan = case.plan()
    assert isinstance(plan, HostPlan), plan
    whole(plan)
    compute = [g for g in plan.gpus if g.use == "compute"]
    assert {driver.vendor for driver in plan.drivers} == {g.vendor for g in compute}
    assert all(driver.packages for driver in plan.drivers if driver.source != "kernel")
    names = [g.name for g in compute]
    on_board = "B200" in names and (case.facts.virtualisation == "none" or names.count("B200") >= 8)
    switches = SWITCH in case.facts.pci or on_board
    assert bool(plan.fabric.packages) == switches
    after = applied(case.facts, plan)
    assert len(sources_of(after)) <= 1
    second = replace(case, facts=after).plan()
    assert isinstance(second, HostPlan), second
    assert second == plan
    assert second.digest == plan.digest


FILES = tuple(
    f"nvidia-driver-local-repo-{os}-{version}_1.0-1_{arch}.deb"
    for os in ("debian12", "debian13", "ubuntu2404")
    for version in ("580.159.04", "595.71.05", "999.1")
    for arch in ("amd64", "arm64")
)
HANDS = st.fixed_dictionaries(
    {},
    optional={
        "nvidia_driver_source": st.sampled_from(["distribution", "nvidia"]),
        "nvidia_driver_branch": st.sampled_from(["580", "595"]),
        "nvidia_driver_mirror": st.just("https://apt.example/cuda"),
        "nvidia_driver_cuda_toolkit": st.sampled_from(["12.9", "13.2"]),
        "kernel_flavour": st.sampled_from(["ga", "hwe", "backports", "built"]),
        "kernel_repository": st.just("kernels/of-release"),
        "rocm_driver": st.sampled_from(["dkms", "in-tree"]),
        "rocm_packages": st.just("runtime"),
    },
)


@FEWER
@given(supported(), HANDS)
def test_what_an_earlier_hand_chose_is_adopted_or_refused_but_never_mixed(
    case: Case, declared: dict[str, object]
) -> None:
    """Somebody deployed with other settings, then they are gone: whatever the plan is now, it is a fixed point."""
    before = case.saying(**declared).plan()
    if not isinstance(before, HostPlan):
        return
    there = replace(case, facts=applied(case.facts, before))
    first = there.plan()
    if not isinstance(first, HostPlan):
        assert all(refusal.remedy for refusal in first)
        return
    whole(first)
    after = applied(there.facts, first)
    assert len(sources_of(after)) <= 1
    second = replace(case, facts=after).plan()
    assert isinstance(second, HostPlan), second
    assert second == first


Trait = Callable[[Case], Case]
INSTALLED = (
    InstalledPackage("nvidia-kernel-open-dkms", "580.126.20-1"),
    InstalledPackage("nvidia-smi", "550.163.01-2"),
)
RUN = Leftover("nvidia-run", "/usr/bin/nvidia-uninstall")


def facts_with(case: Case, **values: object) -> Case:
    return replace(case, facts=replace(case.facts, **values))


def on(os: str, *cards: str, flavour: str = "ga", **declared: object) -> Case:
    """A plain host, for traits that say something about all of it."""
    engine = {"container_engine_source": "docker.com"} if os == "debian 12" else {}
    return Case(host(os, cards, flavour), {**engine, **declared})


def kept_cloud_kernel(case: Case) -> Case:
    return facts_with(
        on("debian 13", "Radeon PRO W7900", flavour="cloud", kernel_flavour="keep"), nics=case.facts.nics
    )


def unable_to_fall_back(case: Case) -> Case:
    boot = Boot("uefi", "grub", "disabled", "lvm")
    return facts_with(on("debian 12", "Radeon AI PRO R9700"), boot=boot, nics=case.facts.nics)


def twice_owned(case: Case) -> Case:
    more = case.with_cards("L4")
    return more.saying(interconnect_display_gpus=["0000:e0:00.0"], interconnect_compute_gpus=["0000:e0:00.0"])


def two_sources(case: Case) -> Case:
    both = on("debian 13", "GeForce RTX 4090")
    return facts_with(both, found=replace(both.facts.found, packages=INSTALLED), nics=case.facts.nics)


def after_an_installer(case: Case) -> Case:
    other = on("debian 13", "GeForce RTX 4090")
    return facts_with(other, found=replace(other.facts.found, leftovers=(RUN,)), nics=case.facts.nics)


# A trait that nothing supports, and what the refusal must say about it.
TRAITS: dict[str, tuple[Trait, tuple[str, ...]]] = {
    "a card that nobody knows": (
        lambda case: facts_with(case, pci=(*case.facts.pci, PciDevice("0000:e0:00.0", "030000", "10de", "fff0"))),
        ("10de:fff0", "0000:e0:00.0"),
    ),
    "another operating system": (lambda case: facts_with(case, os_version="99", os_name="Debian 99"), ("Debian 99",)),
    "another init": (lambda case: facts_with(case, init="runit"), ("runit", "systemd")),
    "another architecture": (lambda case: facts_with(case, arch="riscv64"), ("riscv64",)),
    "535 with a B200": (lambda case: case.with_cards("B200").saying(nvidia_driver_branch="535"), ("B200", "535")),
    "595 with a V100": (
        lambda case: case.with_cards("Tesla V100 PCIe 32GB").saying(nvidia_driver_branch="595"), ("V100", "595"),
    ),
    "open modules for a P40": (
        lambda case: case.with_cards("Tesla P40").saying(nvidia_driver_modules="open"), ("P40", "open"),
    ),
    "a P40 beside a B200": (
        lambda case: case.with_cards("Tesla P40", "B200"),
        ("pascal|maxwell|volta", "blackwell|grace", "open kernel modules"),
    ),
    "a Kepler": (lambda case: case.with_cards("Tesla K80"), ("K80|470",)),
    "a cloud kernel for AMD": (kept_cloud_kernel, ("cloud", "amdgpu")),
    "a boot that cannot fall back": (unable_to_fall_back, ("lvm", "no_fallback")),
    "P2P on Debian": (
        lambda case: on("debian 13", "Radeon PRO W7900", "Radeon PRO W7900", interconnect_p2p="wanted"),
        ("HSA_AMD_P2P", "built", "Ubuntu", "layers"),
    ),
    "P2P between GeForces": (
        lambda case: on(case.os, "GeForce RTX 4090", "GeForce RTX 4090", interconnect_p2p="wanted"),
        ("GeForce RTX 4090", "interconnect_p2p"),
    ),
    "a flavour of another release": (
        lambda case: on("ubuntu 24.04", "L40S", kernel_flavour="backports"), ("backports", "kernel_flavour"),
    ),
    "words against each other": (
        lambda case: case.saying(
            interconnect_iommu="passthrough", kernel_arguments=["iommu=off", "iommu.passthrough=0"]
        ),
        (r"iommu=off is declared|iommu\.passthrough=0 is declared",),
    ),
    "two owners of one GPU": (twice_owned, ("0000:e0:00.0", "display")),
    "a GPU that is not there": (
        lambda case: case.saying(interconnect_display_gpus=["0000:ff:00.0"]), ("0000:ff:00.0",),
    ),
    "more power than a card takes": (
        lambda case: case.with_cards("L4").saying(power_limit_watts={"L4": 500}), ("L4", "500 W", "72 W"),
    ),
    "a clock that no driver locks": (
        lambda case: on("ubuntu 24.04", "Tesla P40", power_clock_mhz={"Tesla P40": 1200}), ("power_clock_mhz", "Volta"),
    ),
    "a limit that the driver forgets": (
        lambda case: on(case.os, "L4", power_limit_watts={"L4": 60}, power_persistence=False), ("power_persistence",),
    ),
    "variables that no library reads": (
        lambda case: on(case.os, interconnect_variables={"NCCL_DEBUG": "WARN"}), ("NCCL_DEBUG",),
    ),
    "packages of two sources": (two_sources, ("nvidia-kernel-open-dkms", "nvidia-smi")),
    "an installer's leftovers": (after_an_installer, (r"\.run", "nvidia-uninstall")),
    "device nodes for NVIDIA": (
        lambda case: case.with_cards("L4").saying(gpu_runtime_method="device-nodes"), ("device-nodes",),
    ),
    "a ROCm that is none": (
        lambda case: on("ubuntu 24.04", "Radeon PRO W7900", rocm_packages="runtime", rocm_version="1.2"), (r"1\.2",),
    ),
    "a Jetson": (lambda case: facts_with(case, machine=Machine("NVIDIA", "NVIDIA Jetson AGX Orin", "")), ("Jetson",)),
}  # fmt: skip


@FEWER
@given(supported(), st.sampled_from(sorted(TRAITS)))
def test_one_unsupported_trait_is_refused_by_name(case: Case, trait: str) -> None:
    change, says = TRAITS[trait]
    answer = change(case).plan()
    assert isinstance(answer, tuple) and answer, f"{trait}: a plan was made"
    text = "\n".join(map(str, answer))
    assert all(re.search(pattern, text) for pattern in says), text
    assert all(
        refusal.subject and refusal.observed and refusal.required and refusal.remedy for refusal in answer
    )


@pytest.mark.parametrize("trait", sorted(TRAITS))
def test_each_trait_is_refused_on_a_plain_host(trait: str) -> None:
    change, says = TRAITS[trait]
    answer = change(on("ubuntu 24.04", "L40S")).plan()
    text = "\n".join(map(str, answer)) if isinstance(answer, tuple) else ""
    assert all(re.search(pattern, text) for pattern in says), text or "a plan was made"


def test_contradictions_are_reported_all_at_once_with_remedies() -> None:
    """535 with a B200, open modules for a P40, and one GPU for two owners, on one host."""
    case = on("ubuntu 24.04", "L40S").with_cards("B200", "Tesla P40").saying(
        nvidia_driver_branch="535",
        nvidia_driver_modules="open",
        interconnect_display_gpus=["0000:11:00.0"],
        interconnect_compute_gpus=["0000:11:00.0"],
    )  # fmt: skip
    answer = case.plan()
    assert isinstance(answer, tuple)
    for says in (("B200", "535", "nvidia_driver_branch"), ("P40", "open", "nvidia_driver_modules"),
                 ("0000:11:00.0", "display", "interconnect_display_gpus")):  # fmt: skip
        (refusal,) = (r for r in answer if all(word in str(r) for word in says))
        assert refusal.remedy


WORDS = st.sampled_from(
    ["", "unknown", "none", "6.12", "6.8.0-52-generic", "580.126.20-1", "auto", "../x", "0", "é\n"]
)


@st.composite
def wild(draw: st.DrawFn) -> Case:
    """Anything that the type of facts allows, however little sense it makes."""
    case = draw(supported())
    known = [(d.vendor, d.device) for d in case.facts.pci] + [
        ("1002", "74a1"),
        ("10de", "2901"),
        ("1a03", "2000"),
    ]
    ids = st.sampled_from(known) | st.tuples(WORDS, WORDS)
    functions = st.builds(
        lambda at, code, pair, above, acs, mine: PciDevice(at, code, *pair, parents=above, acs=acs, passthrough=mine),
        WORDS, st.sampled_from(["030000", "120000", "068000", "060400", "0", ""]), ids,
        st.lists(WORDS, max_size=3).map(tuple), st.sampled_from([True, False, None]), st.booleans(),
    )  # fmt: skip
    releases = st.sampled_from([release_of(row) for row in CATALOG.kernels.kernels]) | WORDS
    configs = st.dictionaries(st.sampled_from(["HSA_AMD_P2P", "DRM_AMDGPU", "X"]), WORDS, max_size=3)
    kernels = st.builds(
        lambda r, now, has: Kernel(r, now, now, tuple(has.items())), releases, st.booleans(), configs
    )
    names = st.sampled_from(
        ["nvidia-driver-cuda", "nvidia-smi", "amdgpu-dkms", "linux-image-amd64", "rocm-core", "x"]
    )
    kinds = st.sampled_from(["nvidia-run", "rocm-legacy", "amdgpu-install", "x"])
    drivers = st.builds(
        Driver, st.sampled_from(["nvidia", "amdgpu", "nouveau", "x"]), WORDS,
        st.sampled_from(["open", "dkms", "unknown"]),
        st.sampled_from(["package", "run", "kernel", "outside", "unknown"]), st.booleans(),
    )  # fmt: skip
    anything: dict[str, st.SearchStrategy[object]] = {
        "pci": st.lists(functions, max_size=4).map(lambda more: (*more, *case.facts.pci)),
        "arch": st.sampled_from(["aarch64", "riscv64"]),
        "cpu_family": st.none() | st.integers(0, 30),
        "virtualisation": st.sampled_from([*sorted(CONTAINERS), "kvm", "unknown"]),
        "machine": st.builds(Machine, WORDS, WORDS, WORDS),
        "nics": st.lists(st.builds(Nic, WORDS, WORDS, WORDS, WORDS, st.booleans()), max_size=3).map(tuple),
        "boot": st.builds(Boot, WORDS, WORDS, st.sampled_from(["enabled", "unknown"]), WORDS),
        "found": st.builds(
            Found,
            st.lists(drivers, max_size=2).map(tuple),
            st.lists(st.builds(InstalledPackage, names, WORDS), max_size=3).map(tuple),
            st.lists(kernels, max_size=2).map(tuple),
            st.lists(st.builds(Leftover, kinds, WORDS), max_size=2).map(tuple),
        ),
    }
    chosen = draw(st.lists(st.sampled_from(sorted(anything)), min_size=1, max_size=3, unique=True))
    facts = replace(case.facts, **{name: draw(anything[name]) for name in chosen})
    more = {
        "nvidia_driver_branch": st.sampled_from(["580", "999"]),
        "nvidia_driver_mirror": st.just("file:/srv/cuda"),
        "nvidia_driver_cuda_toolkit": st.sampled_from(["12.9", "13.2", "99.9"]),
        "nvidia_driver_imex": st.sampled_from(["on", "off"]),
        "nvidia_driver_local_repository": st.sampled_from(FILES),
        "rocm_driver": st.sampled_from(["in-tree", "dkms"]),
        "rocm_packages": st.just("runtime"),
        "kernel_flavour": st.sampled_from(["keep", "ga", "hwe", "backports", "built"]),
        "kernel_repository": st.just("kernels/of-release"),
        "interconnect_p2p": st.sampled_from(["wanted", "off"]),
    }
    said = draw(st.lists(st.sampled_from(sorted(more)), max_size=2, unique=True))
    return Case(facts, {**case.declared, **{name: draw(more[name]) for name in said}})


@FEWER
@given(wild())
def test_no_facts_raise(case: Case) -> None:
    answer = case.plan()
    if isinstance(answer, HostPlan):
        whole(answer)
    else:
        assert answer and all(refusal.remedy for refusal in answer)
