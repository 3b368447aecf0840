"""verify's checks of GPUs in containers as functions of readings: good ones, then each made bad, cut off or absent."""

from __future__ import annotations

import pytest

from gpuwright.plan import HostPlan
from gpuwright.verify import host  # noqa: F401  (importing it registers the checks)
from gpuwright.verify.check import CHECKS
from gpuwright.verify.readings import Readings
from gpuwright.verify.runtime_script import text
from gpuwright.verify.verdict import Verdict
from tests.unit.cdi_host import AMD_TEXT, NVIDIA_TEXT, VERSION, amd, nvidia
from tests.unit.test_plan_runtime_steps import FOUR
from tests.unit.test_verify_driver import machine, planned

OURS = [name for name in CHECKS if name.startswith("runtime.")]
FACTS, ON_AMD = machine("debian13-2x4090"), machine("ubuntu2404-2xw7900-p2p")
PLAN = planned(FACTS)
NODES, TOOLKIT = planned(ON_AMD), planned(ON_AMD, gpu_runtime_method="cdi")
NOTHING = planned(machine("debian13-metal-cpu"))
GOOD = {
    "locked": "\n".join(f"{name}\t1.20.0-1\thold\tinstalled\t, " for name in FOUR),
    "cdi:nvidia": "\n".join(nvidia().lines(spec=NVIDIA_TEXT)),
    "docker_cdi": '["/etc/cdi","/var/run/cdi"]',
    "podman_version": "podman version 5.4.2",
}
GOOD_NODES = "/dev/kfd\t/dev/kfd\trender\t660\n" + "\n".join(
    f"{address}\t/dev/dri/renderD{128 + n}\trender\t660"
    for n, address in enumerate(NODES.gpu_runtime.nodes[0].gpus)
)


def judge(check: str, plan: HostPlan = PLAN, **changed: str | None) -> tuple[Verdict, ...]:
    sections = {**GOOD, **{name.replace("__", ":"): value for name, value in changed.items()}}
    there = {name: value for name, value in sections.items() if value is not None}
    return CHECKS[check].judge(Readings(FACTS, there), plan)


def statuses(check: str, plan: HostPlan = PLAN, **changed: str | None) -> set[str]:
    return {verdict.status for verdict in judge(check, plan, **changed)}


@pytest.mark.parametrize("check", OURS)
def test_a_good_host_passes(check: str) -> None:
    assert statuses(check) == ({"skip"} if check == "runtime.nodes" else {"pass"}), judge(check)


@pytest.mark.parametrize("check", OURS)
def test_a_host_without_gpus_is_asked_nothing(check: str) -> None:
    assert statuses(check, NOTHING) == {"skip"}
    assert text(NOTHING) == ""


@pytest.mark.parametrize("check", [name for name in OURS if name != "runtime.nodes"])
def test_what_was_not_read_is_unknown(check: str) -> None:
    absent: dict[str, None] = dict.fromkeys(("locked", "cdi__nvidia", "docker_cdi", "podman_version"))
    assert statuses(check, **absent) == {"unknown"}


@pytest.mark.parametrize(
    ("section", "value", "check"),
    [
        ("locked", GOOD["locked"][:-9], "runtime.toolkit"),
        ("cdi__nvidia", GOOD["cdi:nvidia"][:-3], "runtime.cdi"),
        ("cdi__nvidia", "", "runtime.cdi-beside"),
        ("cdi__nvidia", "end", "runtime.cdi-at-boot"),
        ("docker_cdi", '["/etc/cd', "runtime.docker"),
        ("docker_cdi", '{"a": 1}', "runtime.docker"),
        ("docker_cdi", "", "runtime.docker"),
        ("podman_version", "", "runtime.podman"),
        ("podman_version", "podman: no version", "runtime.podman"),
    ],
)
def test_what_was_cut_off_is_unknown(section: str, value: str, check: str) -> None:
    assert statuses(check, **{section: value}) == {"unknown"}


OLD = "\n".join(nvidia().replaced(VERSION, "580.105.08").lines(spec=NVIDIA_TEXT))
NO_SPEC = "\n".join(nvidia().lines())
COPY = "\n".join(nvidia().lines(spec=NVIDIA_TEXT, copy=NVIDIA_TEXT.replace(VERSION, "550.163.01")))
CLASH = "\n".join(nvidia().lines(spec=NVIDIA_TEXT, near=NVIDIA_TEXT))
PENDING = "\n".join(nvidia().replaced(f"disk\t{VERSION}", "disk\t580.105.08").lines(spec=NVIDIA_TEXT))
MASKED = "\n".join(nvidia().replaced("service\tenabled", "service\tmasked").lines(spec=NVIDIA_TEXT))
BAD = [
    ("locked", GOOD["locked"].replace("1.20.0", "1.19.1"), "runtime.toolkit", "1.19.1-1"),
    ("locked", GOOD["locked"].replace("1.20.0", "1.20.1", 1), "runtime.toolkit", "1.20.0-1, 1.20.1-1"),
    ("locked", GOOD["locked"].partition("\n")[2], "runtime.toolkit", "1.20.0-1, no nvidia-container-toolkit"),
    (
        "locked",
        GOOD["locked"].replace("hold\tinstalled", "hold\tunpacked", 1),
        "runtime.toolkit",
        "no nvidia-c",
    ),
    ("cdi__nvidia", OLD, "runtime.cdi", f"it is of driver {VERSION}, and 580.105.08 is loaded"),
    ("cdi__nvidia", NO_SPEC, "runtime.cdi", "it is not there"),
    ("cdi__nvidia", PENDING, "runtime.cdi", f"driver {VERSION} is loaded, and 580.105.08 is on the disk"),
    ("cdi__nvidia", COPY, "runtime.cdi-beside", "it is of driver 550.163.01"),
    ("cdi__nvidia", CLASH, "runtime.cdi-beside", "has nvidia.com/gpu=0 as well"),
    ("cdi__nvidia", MASKED, "runtime.cdi-at-boot", "masked"),
    ("docker_cdi", "[]", "runtime.docker", "none: CDI is off"),
    ("docker_cdi", "null", "runtime.docker", "none: CDI is off"),
    ("docker_cdi", '["/etc/cdi"]', "runtime.docker", "reads /etc/cdi"),
    ("podman_version", "podman version 3.4.4", "runtime.podman", "3.4.4"),
]


@pytest.mark.parametrize(("section", "value", "check", "observed"), BAD)
def test_each_thing_that_is_wrong_is_found(section: str, value: str, check: str, observed: str) -> None:
    (verdict,) = judge(check, **{section: value})
    assert verdict.status == "fail" and observed in verdict.observed
    assert verdict.meaning and verdict.action and verdict.source


@pytest.mark.parametrize("copy", [NVIDIA_TEXT, AMD_TEXT])
def test_a_copy_that_stays_is_named(copy: str) -> None:
    (verdict,) = judge(
        "runtime.cdi-beside", cdi__nvidia="\n".join(nvidia().lines(spec=NVIDIA_TEXT, copy=copy))
    )
    assert verdict.status == "skip" and verdict.subject == "/etc/cdi/nvidia.yaml"
    assert "left as it is" in verdict.observed


def test_a_host_without_podman_is_not_asked_for_it() -> None:
    assert statuses("runtime.podman", podman_version="absent") == {"skip"}


def test_run_is_the_directory_that_var_run_leads_to() -> None:
    assert statuses("runtime.docker", docker_cdi='["/etc/cdi","/run/cdi"]') == {"pass"}


def test_amds_nodes() -> None:
    assert statuses("runtime.nodes", NODES, device_nodes__amd=GOOD_NODES) == {"pass"}
    for bad, observed in (
        (GOOD_NODES.replace("render\t660", "video\t660"), "belongs to the group video"),
        (GOOD_NODES.replace("/dev/kfd\trender\t660", "/dev/kfd\tabsent\t"), "is not there"),
    ):
        worst = min(judge("runtime.nodes", NODES, device_nodes__amd=bad), key=lambda each: each.rank)
        assert worst.status == "fail" and observed in worst.observed
    assert statuses("runtime.nodes", NODES, device_nodes__amd=None) == {"unknown"}
    assert statuses("runtime.nodes", NODES, device_nodes__amd="/dev/kfd\t/dev") == {"unknown"}
    assert statuses("runtime.nodes", NODES, device_nodes__amd=GOOD_NODES.partition("\n")[0]) == {
        "pass",
        "unknown",
    }


def test_amds_toolkit_has_no_unit_and_may_have_any_version() -> None:
    locked = "amd-container-toolkit\t1.2.0-1\thold\tinstalled\t, "
    read = "\n".join(amd().lines(spec=AMD_TEXT))
    for check in OURS:
        found = statuses(check, TOOLKIT, locked=locked, cdi__amd=read)
        assert found == ({"skip"} if check in ("runtime.nodes", "runtime.cdi-at-boot") else {"pass"}), check
