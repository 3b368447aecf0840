"""verify's checks of drivers and kernels as functions of readings: good ones, then each made bad, cut off or absent.

Nobody's readings: composed in the form in which driver_script.py writes them, for composed machines of tests/fleet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gpuwright import catalog
from gpuwright.facts import HostFacts
from gpuwright.facts.model import InstalledPackage, Kernel
from gpuwright.plan import HostPlan, plan_host
from gpuwright.settings import read_settings
from gpuwright.verify import host  # noqa: F401  (importing it registers the checks)
from gpuwright.verify.check import CHECKS
from gpuwright.verify.driver_script import variables
from gpuwright.verify.readings import Readings
from gpuwright.verify.verdict import Verdict
from tests.unit.nvidia_host import deployed

FLEET = Path(__file__).resolve().parents[1] / "fleet"
OURS = [name for name in CHECKS if name.startswith(("driver.", "kernel.")) or name == "packages.held"]
OLD = "6.12.94+deb13-amd64"


@dataclass(frozen=True)
class Case:
    """A host as it is, what is planned for it, and what was read there."""

    facts: HostFacts
    plan: HostPlan
    sections: dict[str, str]

    def judge(self, check: str, **changed: str | None) -> tuple[Verdict, ...]:
        sections = {**self.sections, **changed}
        there = {name: text for name, text in sections.items() if text is not None}
        return CHECKS[check].judge(Readings(self.facts, there), self.plan)

    def statuses(self, check: str, **changed: str | None) -> set[str]:
        return {verdict.status for verdict in self.judge(check, **changed)}


def machine(name: str) -> HostFacts:
    return HostFacts.from_json((FLEET / name / "facts.json").read_text())


def planned(facts: HostFacts, **settings: object) -> HostPlan:
    plan = plan_host(facts, read_settings(settings), catalog.load())
    assert isinstance(plan, HostPlan), plan
    return plan


def nvidia(name: str = "debian13-2x4090", **settings: object) -> Case:
    """Two RTX 4090 on Debian with the driver at work, built by dkms for the only kernel."""
    bare = machine(name)
    plan = planned(bare, **settings)
    (driver,) = plan.drivers
    facts = deployed(bare, driver)
    (loaded,) = facts.found.drivers
    release = facts.readings.kernel_release
    kernels = tuple(replace(kernel, headers=True) for kernel in facts.found.kernels)
    words = " ".join(("quiet", *plan.kernel.arguments))
    facts = replace(
        facts, found=replace(facts.found, kernels=kernels), readings=replace(facts.readings, cmdline=words)
    )
    addresses = [gpu.address for gpu in plan.gpus]
    nodes = [f"/dev/nvidia{minor}" for minor, _ in enumerate(addresses)]
    counted = [f"nvidia\t{address}\t{node}" for address, node in zip(addresses, nodes, strict=True)]
    path = f"/lib/modules/{release}/updates/dkms/nvidia.ko.xz"
    smi = [f"0000{address.upper()}, {loaded.version}, Enabled" for address in addresses]
    sets = (*plan.kernel_steps.locked, *plan.nvidia_driver.locked, *plan.gpu_runtime.locked)
    held = [f"{n}\t1\thold\tinstalled\t, " for each in sets for n in each.first + each.packages]
    return Case(
        facts,
        plan,
        {
            "packages": "curl\tii",
            "gpus": "\n".join(f"{address}\tnvidia" for address in addresses),
            "counted": "\n".join(counted),
            "nodes": "\n".join(("/dev/nvidiactl", "/dev/nvidia-uvm", *nodes)),
            "modules": f"{release}\tnvidia\t{path}\t{loaded.version}\tDKMS module signing key",
            "boots": f"{release}\t2000",
            "boot_choice": "0",
            "option_files": "/etc/modprobe.d/gpuwright-nvidia.conf\t1000",
            "metapackages": f"linux-image-amd64\tlinux-image-{release} (= 1)\nlinux-headers-amd64\t",
            "rivals": "\n".join(f"{name}\tno\tyes" for name in driver.blacklist),
            "signing_keys": "Debian Secure Boot CA: 6ccece7e\nDKMS module signing key: 0a1b2c3d",
            "kernel_log": "whole",
            "locked": "\n".join(dict.fromkeys(held)),
            "nvidia_smi": "\n".join((*smi, "exit 0")),
        },
    )


def amd() -> Case:
    """Eight MI300X on Debian with AMD's own driver at work."""
    bare = machine("debian13-8xmi300x")
    plan = planned(bare)
    release = bare.readings.kernel_release
    addresses = [gpu.address for gpu in plan.gpus]
    rows = []
    for index, address in enumerate(addresses):
        domain, bus, rest = address.split(":")
        device, function = rest.split(".")
        place = int(bus, 16) << 8 | int(device, 16) << 3 | int(function)
        rows.append(f"amd\t{int(domain, 16)}:{place}\t/dev/dri/renderD{128 + index}")
    nodes = [row.rpartition("\t")[2] for row in rows]
    return Case(
        bare,
        plan,
        {
            "gpus": "\n".join(f"{address}\tamdgpu" for address in addresses),
            "counted": "\n".join(rows),
            "nodes": "\n".join(("/dev/kfd", *nodes)),
            "modules": f"{release}\tamdgpu\t/lib/modules/{release}/updates/dkms/amdgpu.ko.xz\t6.16.6\tkey",
            "boots": f"{release}\t2",
            "boot_choice": "",
        },
    )


NVIDIA = nvidia()
RELEASE = NVIDIA.facts.readings.kernel_release
MODULE = f"/lib/modules/{RELEASE}/updates/dkms/nvidia.ko.xz"
SECURE = replace(NVIDIA, facts=replace(NVIDIA.facts, boot=replace(NVIDIA.facts.boot, secure_boot="enabled")))


@pytest.mark.parametrize("check", OURS)
def test_a_good_host_passes(check: str) -> None:
    skipped = {"driver.fabric", "kernel.arguments", "kernel.signed"}
    assert NVIDIA.statuses(check) == ({"skip"} if check in skipped else {"pass"}), NVIDIA.judge(check)


BAD = [
    ("gpus", "\tnvidia", "\tnouveau", "driver.gpus"),
    ("gpus", "\tnvidia", "\tnone", "driver.gpus"),
    ("gpus", "\tnvidia", "\tvfio-pci", "driver.gpus"),
    ("counted", "nvidia\t0000:", "nvidia\t0001:", "driver.gpus"),
    ("modules", "\t580.", "\t580.9", "driver.one-version"),
    ("modules", MODULE, "absent", "driver.one-version"),
    ("modules", MODULE, "absent", "kernel.modules"),
    ("nvidia_smi", "580.", "580.9", "driver.one-version"),
    ("nvidia_smi", "exit 0", "exit 9", "driver.one-version"),
    ("nodes", "/dev/nvidia-uvm", "/dev/other", "driver.devices"),
    ("nodes", "/dev/nvidia1", "/dev/other", "driver.devices"),
    ("nvidia_smi", "Enabled", "Disabled", "driver.persistence"),
    ("rivals", "\tno\t", "\tyes\t", "driver.rivals"),
    ("rivals", "\tyes", "\tno", "driver.rivals"),
    ("locked", "hold", "install", "packages.held"),
    ("locked", "nvidia-persistenced", "other", "packages.held"),
    ("metapackages", f"linux-image-{RELEASE}", "linux-image-6.12.200+deb13-amd64", "kernel.running"),
    ("metapackages", f"linux-image-{RELEASE}", "", "kernel.running"),
    ("modules", "updates/dkms", "kernel/drivers/video", "kernel.modules"),
    ("boots", "\t2000", "\tabsent", "kernel.initramfs"),
    ("boots", "\t2000", "\t999", "kernel.initramfs"),
]


@pytest.mark.parametrize(("section", "old", "new", "check"), BAD, ids=[f"{r[3]} {r[2][:20]}" for r in BAD])
def test_a_bad_reading_fails_its_check(section: str, old: str, new: str, check: str) -> None:
    assert old in NVIDIA.sections[section]
    found = NVIDIA.judge(check, **{section: NVIDIA.sections[section].replace(old, new)})
    wrong = [verdict for verdict in found if verdict.status == "fail"]
    assert wrong, found
    assert all(verdict.meaning and verdict.action and verdict.source for verdict in wrong)


@pytest.mark.parametrize("section", sorted(NVIDIA.sections))
def test_a_section_that_is_missing_passes_nothing_that_asks_for_it(section: str) -> None:
    lost = [name for name in OURS if NVIDIA.judge(name, **{section: None}) != NVIDIA.judge(name)]
    if section not in ("packages", "signing_keys"):
        assert lost
    for name in lost:
        assert "unknown" in NVIDIA.statuses(name, **{section: None}), NVIDIA.judge(name, **{section: None})


@pytest.mark.parametrize("section", sorted(NVIDIA.sections))
def test_cut_rows_crash_no_check(section: str) -> None:
    text = NVIDIA.sections[section]
    for length in range(len(text)):
        for name in OURS:
            assert NVIDIA.judge(name, **{section: text[:length]})


def test_without_readings_nothing_passes() -> None:
    empty = replace(NVIDIA, sections={})
    # From the facts alone: headers lie on the disk, and the packages' versions are known.
    for name in OURS:
        if name in ("driver.fabric", "kernel.arguments", "kernel.signed"):
            continue
        assert "unknown" in empty.statuses(name), empty.judge(name)


def test_a_host_without_gpus_is_asked_nothing_and_judged_by_nothing() -> None:
    facts = machine("sandbox-debian13")
    plan = planned(facts)
    assert variables(plan) == {}
    for name in OURS:
        assert {verdict.status for verdict in CHECKS[name].judge(Readings(facts, {}), plan)} == {"skip"}


def test_a_driver_that_is_not_loaded_fails() -> None:
    bare = replace(NVIDIA, facts=replace(NVIDIA.facts, found=replace(NVIDIA.facts.found, drivers=())))
    assert bare.statuses("driver.one-version") == {"fail"}


def test_user_space_upgraded_under_a_loaded_module_is_named() -> None:
    found = NVIDIA.facts.found
    packages = tuple(
        InstalledPackage(p.name, p.version.replace("580.", "580.9")) if p.name == "nvidia-driver-cuda" else p
        for p in found.packages
    )
    assert packages != found.packages
    case = replace(NVIDIA, facts=replace(NVIDIA.facts, found=replace(found, packages=packages)))
    wrong = [verdict for verdict in case.judge("driver.one-version") if verdict.status == "fail"]
    assert [verdict.subject for verdict in wrong] == ["packages"]
    assert "nvidia-driver-cuda 580.9" in wrong[0].observed


def test_debians_renamed_module_is_looked_for_by_its_file_name() -> None:
    case = nvidia("debian13-4090-debian-driver")
    assert case.plan.drivers[0].module == "nvidia-current"
    assert variables(case.plan)["modules"] == "nvidia-current"
    assert "unknown" in case.statuses("driver.one-version")
    (version,) = (driver.version for driver in case.facts.found.drivers)
    row = (
        f"{case.facts.readings.kernel_release}\tnvidia-current\t/updates/dkms/nvidia-current.ko\t{version}\t"
    )
    assert case.statuses("driver.one-version", modules=row) == {"pass"}


def with_kernels(case: Case, *releases: str) -> Case:
    kernels = tuple(Kernel(release, release == RELEASE, headers=release == RELEASE) for release in releases)
    facts = replace(case.facts, found=replace(case.facts.found, kernels=kernels))
    boots = "\n".join(f"{release}\t2000" for release in releases)
    modules = [case.sections["modules"], *(f"{r}\tnvidia\tabsent\t\t" for r in releases if r != RELEASE)]
    return Case(facts, case.plan, {**case.sections, "boots": boots, "modules": "\n".join(modules)})


@pytest.mark.parametrize(
    ("other", "choice", "judged"),
    [
        ("6.12.200+deb13-amd64", "0", True),  # the newest boots by itself
        (OLD, "0", False),  # nobody starts it but a person
        (OLD, f"gnulinux-advanced-1>gnulinux-{OLD}-advanced-1", True),  # the boot loader was told to
    ],
)
def test_kernels_that_could_boot_next_are_judged(other: str, choice: str, judged: bool) -> None:
    case = with_kernels(NVIDIA, OLD if other == OLD else RELEASE, RELEASE if other == OLD else other)
    for check in ("kernel.modules", "kernel.headers"):
        failed = {v.subject for v in case.judge(check, boot_choice=choice) if v.status == "fail"}
        assert failed == ({f"nvidia for {other}"} if judged else set())


def test_signatures_are_asked_for_with_secure_boot_only() -> None:
    assert NVIDIA.statuses("kernel.signed") == {"skip"}
    assert SECURE.statuses("kernel.signed") == {"pass"}
    unsigned = NVIDIA.sections["modules"].replace("DKMS module signing key", "")
    assert SECURE.statuses("kernel.signed", modules=unsigned) == {"fail"}
    assert SECURE.statuses("kernel.signed", signing_keys="Debian Secure Boot CA: 6ccece7e") == {"fail"}
    assert SECURE.statuses("kernel.signed", signing_keys=None) == {"unknown"}


def test_kernel_arguments() -> None:
    case = amd()
    assert case.plan.kernel.arguments == ("iommu=pt",)
    for words, expected in (("quiet iommu=pt", "pass"), ("quiet iommu=pt2", "fail"), ("", "unknown")):
        facts = replace(case.facts, readings=replace(case.facts.readings, cmdline=words))
        assert replace(case, facts=facts).statuses("kernel.arguments") == {expected}


def test_a_built_kernel_is_known_by_its_configuration() -> None:
    built = machine("debian12-2xw7900-built")
    repository = {"kernel_flavour": "built", "kernel_repository": "kernels/debian12"}
    plan = planned(built, kernel_reboot="fallback", **repository)
    assert plan.kernel.config
    (now,) = built.found.kernels

    def judged(config: tuple[tuple[str, str], ...], brings: str = now.release) -> set[str]:
        kernels = (replace(now, config=config),)
        facts = replace(built, found=replace(built.found, kernels=kernels))
        brought = f"{plan.kernel.packages[0]}\tlinux-image-{brings} (= 1), linux-headers-{brings} (= 1)"
        return Case(facts, plan, {"metapackages": brought}).statuses("kernel.running")

    symbols = [word.removesuffix("=y") for word in plan.kernel.config]
    assert judged(tuple((symbol, "y") for symbol in symbols)) == {"pass"}
    assert judged(tuple((symbol, "n") for symbol in symbols)) == {"fail", "pass"}
    assert judged(()) == {"unknown", "pass"}
    assert judged(tuple((symbol, "y") for symbol in symbols), "6.1.193-p2p") == {"fail", "pass"}


def test_amd_gpus_are_counted_by_kfd() -> None:
    case = amd()
    assert case.statuses("driver.gpus") == {"pass"}, case.judge("driver.gpus")
    assert case.statuses("driver.devices") == {"pass"}
    # Partitions of one GPU are several nodes of one place.
    parts = case.sections["counted"] + "\n" + case.sections["counted"].replace("renderD1", "renderD2")
    assert case.statuses("driver.gpus", counted=parts) == {"pass"}
    lost = "\n".join(case.sections["counted"].splitlines()[1:])
    (verdict,) = case.judge("driver.gpus", counted=lost)
    assert verdict.status == "fail" and "7 counted by it" in verdict.observed
    assert case.plan.gpus[0].address in verdict.meaning
    assert case.statuses("driver.gpus", counted="amd\tnot:decimal\t/dev/dri/renderD128") == {"unknown"}


def test_the_kernels_own_amdgpu_beside_dkms_is_named() -> None:
    case = amd()
    inbox = case.sections["modules"].replace("updates/dkms", "kernel/drivers/gpu/drm/amd/amdgpu")
    assert case.statuses("kernel.modules") == {"pass"}
    assert case.statuses("kernel.modules", modules=inbox) == {"fail"}


def test_fabric_manager_is_of_the_drivers_very_version() -> None:
    bare = machine("ubuntu2204-8xh100")
    plan = planned(bare)
    facts = deployed(bare, plan.drivers[0])
    (loaded,) = facts.found.drivers

    def judged(version: str) -> set[str]:
        names = [InstalledPackage(name, version) for name in plan.fabric.packages]
        found = replace(facts.found, packages=(*facts.found.packages, *names))
        return Case(replace(facts, found=found), plan, {}).statuses("driver.fabric")

    assert judged(f"{loaded.version}-1") == {"pass"}
    assert judged("580.1.1-1") == {"fail"}
    assert Case(facts, plan, {}).statuses("driver.fabric") == {"fail"}
    assert Case(bare, plan, {}).statuses("driver.fabric") == {"unknown"}


def test_a_driver_from_outside_is_judged_by_what_can_be_seen() -> None:
    """A guest whose kernel and module came from around it: no file of either lies here, and no package brought them."""
    recorded = replace(machine("h200-no-systemd"), init="systemd")
    plan = planned(recorded)
    addresses = [gpu.address for gpu in plan.gpus]
    case = Case(
        recorded,
        plan,
        {
            "gpus": "\n".join(f"{address}\tnvidia" for address in addresses),
            "counted": "\n".join(f"nvidia\t{a}\t/dev/nvidia{i}" for i, a in enumerate(addresses)),
            "boots": "",
            "boot_choice": "",
            "nvidia_smi": "\n".join((*(f"0000{a}, 580.159.04, Enabled" for a in addresses), "exit 0")),
        },
    )
    assert case.statuses("driver.gpus") == {"pass"}
    found = {verdict.subject: verdict.status for verdict in case.judge("driver.one-version")}
    assert found == {"module nvidia on the disk": "skip", "packages": "skip", "nvidia-smi": "pass"}
    for check in ("kernel.running", "kernel.modules", "kernel.headers", "kernel.initramfs"):
        assert case.statuses(check) == {"skip"}
    # The containers' toolkit is ours all the same.
    held = "\n".join(f"{name}\t1\thold\tinstalled\t, " for name in plan.gpu_runtime.locked[0].packages)
    assert {v.subject for v in case.judge("packages.held", locked=held) if v.status == "pass"} == set(
        plan.gpu_runtime.locked[0].packages
    )


@pytest.mark.parametrize(
    "spoil", [lambda text: text, lambda text: "", lambda text: "Failed to initialize NVML\n"]
)
def test_an_nvidia_smi_that_did_not_end_is_unknown(spoil: Callable[[str], str]) -> None:
    unfinished = spoil(NVIDIA.sections["nvidia_smi"].replace("exit 0", ""))
    found = {v.subject: v.status for v in NVIDIA.judge("driver.one-version", nvidia_smi=unfinished)}
    assert found["nvidia-smi"] == "unknown"


def test_what_nvidia_smi_complains_about_is_shown() -> None:
    said = "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.99\nexit 18"
    (verdict,) = [v for v in NVIDIA.judge("driver.one-version", nvidia_smi=said) if v.subject == "nvidia-smi"]
    assert verdict.status == "fail"
    assert verdict.observed == "exit 18: Failed to initialize NVML: Driver/library version mismatch"
