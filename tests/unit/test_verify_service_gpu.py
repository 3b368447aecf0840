"""verify's checks of services on GPUs as functions of readings: good, bad, the processor instead, and unread."""

from __future__ import annotations

import json

import pytest

from gpuwright import catalog
from gpuwright.facts import HostFacts
from gpuwright.plan import HostPlan, plan_host
from gpuwright.settings import read_settings
from gpuwright.verify import host  # noqa: F401  (importing it registers the checks)
from gpuwright.verify.check import CHECKS
from gpuwright.verify.readings import Readings
from tests.unit.test_plan_serving import FIRST, FLEET, Q4, SECOND, TWO_4090

FACTS = HostFacts.from_json((FLEET / TWO_4090 / "facts.json").read_text())
ONE, TWO = "GPU-11111111-0000-0000-0000-000000000000", "GPU-22222222-0000-0000-0000-000000000000"
SPACE = "mnt:[4026532000]"
WORDS = f"--device nvidia.com/gpu={ONE} --device nvidia.com/gpu={TWO}"


def plan_of() -> HostPlan:
    service = {"name": "chat", "model": "m", "out_of_memory": ["context"]}
    found = plan_host(
        FACTS, read_settings({"inference_services": [service], "model_store_models": [Q4]}), catalog.load()
    )
    assert isinstance(found, HostPlan), found
    return found


PLAN = plan_of()
SERVICE = PLAN.inference.services[0]
INSPECTED = {
    "Privileged": False,
    "DeviceRequests": [{"Driver": "cdi", "DeviceIDs": [f"nvidia.com/gpu={ONE}", f"nvidia.com/gpu={TWO}"]}],
    "Devices": [],
    "GroupAdd": None,
    "ShmSize": SERVICE.shm_bytes,
    "Arguments": list(SERVICE.arguments),
}
GOOD = {
    "env_files": f"/etc/gpuwright/chat.env\t0600\troot:root\t1\tright\tright\tright\t{WORDS}",
    "containers": f"gpuwright-chat\t{json.dumps(INSPECTED)}",
    "processes": f"gpuwright-chat\t77\t{SPACE}\t0\t0\t1\t990:990",
    # As nvidia-smi writes addresses.
    "service_gpus": f"gpuwright-chat\t0000{FIRST}\t{ONE}\ngpuwright-chat\t0000{SECOND}\t{TWO}",
    "gpu_uuids": f"{FIRST}\t{ONE}\n{SECOND}\t{TWO}",
    "gpu_memory": f"0000{FIRST}\t{SPACE}\t3000\n0000{SECOND}\t{SPACE}\t3400\n0000{FIRST}\tmnt:[1]\t900",
    "rungs": "chat\tnone\t-",
}


def judged(check: str, **changed: str) -> list[tuple[str, str]]:
    """Status and observation of each finding of a check."""
    sections = {key: value for key, value in {**GOOD, **changed}.items() if value}
    return [(v.status, v.observed) for v in CHECKS[check].judge(Readings(FACTS, sections), PLAN)]


CHECKED = (
    "gpu.in-container",
    "gpu.memory",
    "service.rung",
    "container.privileged",
    "container.arguments",
    "container.shared-memory",
)


@pytest.mark.parametrize("check", CHECKED)
def test_as_planned_passes_and_unread_is_unknown(check: str) -> None:
    assert {status for status, _ in judged(check)} == {"pass"}, judged(check)
    nothing = dict.fromkeys(GOOD, "")
    assert {status for status, _ in judged(check, **nothing)} == {"unknown"}


@pytest.mark.parametrize(
    ("check", "section", "text", "says"),
    [
        ("gpu.in-container", "service_gpus", "other\t-\t-", "no GPU"),
        ("gpu.in-container", "service_gpus", f"gpuwright-chat\t0000{FIRST}\t{ONE}", f"{FIRST} {ONE}"),
        ("gpu.in-container", "gpu_uuids", f"{FIRST}\t{TWO}\n{SECOND}\t{ONE}", ONE),
        ("gpu.memory", "gpu_memory", f"0000{FIRST}\tmnt:[1]\t900", "nothing: it runs on the CPU"),
        ("gpu.memory", "gpu_memory", f"0000{FIRST}\t{SPACE}\t310\n0000{SECOND}\t{SPACE}\t310", "310 MiB"),
        (
            "gpu.memory",
            "gpu_memory",
            f"0000{FIRST}\t{SPACE}\t23000\n0000{SECOND}\t{SPACE}\t23000",
            "23000 MiB",
        ),
        ("service.rung", "rungs", "chat\t1\t-c 2048", "rung 1: -c 2048"),
        (
            "container.privileged",
            "containers",
            f"gpuwright-chat\t{json.dumps({**INSPECTED, 'DeviceRequests': []})}",
            "no",
        ),
        (
            "container.privileged",
            "containers",
            f"gpuwright-chat\t{json.dumps({**INSPECTED, 'Devices': [{'PathOnHost': '/dev/sda'}]})}",
            "/dev/sda",
        ),
        (
            "container.arguments",
            "containers",
            f"gpuwright-chat\t{json.dumps({**INSPECTED, 'Arguments': ['-c', '1']})}",
            "-c 1",
        ),
        (
            "container.shared-memory",
            "containers",
            f"gpuwright-chat\t{json.dumps({**INSPECTED, 'ShmSize': 67108864})}",
            "6710",
        ),
    ],
)
def test_what_is_otherwise_fails_and_is_shown(check: str, section: str, text: str, says: str) -> None:
    found = judged(check, **{section: text})
    assert any(status == "fail" and says in observed for status, observed in found), found


@pytest.mark.parametrize("text", ["cut", f"0000{FIRST}\t{SPACE}\t[N/A]"])
def test_memory_that_the_driver_does_not_say_is_unknown(text: str) -> None:
    assert {status for status, _ in judged("gpu.memory", gpu_memory=text)} == {"unknown"}


def test_words_of_the_ladder_may_follow() -> None:
    inspected = {**INSPECTED, "Arguments": [*SERVICE.arguments, "-c", "2048"]}
    found = judged(
        "container.arguments", rungs="chat\t1\t-c 2048", containers=f"gpuwright-chat\t{json.dumps(inspected)}"
    )
    assert [status for status, _ in found] == ["pass"], found
