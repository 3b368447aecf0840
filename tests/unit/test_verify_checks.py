"""verify's checks as functions of readings: recorded on a sandbox host, then made bad, cut off, empty or absent.

Recorded by `pytest tests/sandbox/test_verify.py --update-golden`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from gpuwright import catalog
from gpuwright.facts import HostFacts, PciDevice
from gpuwright.plan import HostPlan, plan_host
from gpuwright.plan.model import GpuNeed, ManagedFile, Package, Service, Unit
from gpuwright.render import render
from gpuwright.settings import read_settings
from gpuwright.stamp import PATH as STAMP
from gpuwright.status_probe import parse_sections
from gpuwright.verify import host  # noqa: F401  (importing it registers the checks)
from gpuwright.verify.answers import Probe, probe_for
from gpuwright.verify.check import CHECKS
from gpuwright.verify.parts import planned
from gpuwright.verify.readings import Readings
from gpuwright.verify.verdict import Verdict

ROOT = Path(__file__).resolve().parents[2]
RECORDED = (ROOT / "tests" / "fixtures" / "verify_sbx1.txt").read_text()
FACTS = HostFacts.from_json((ROOT / "tests" / "fixtures" / "verify_sbx1_facts.json").read_text())
SECTIONS = parse_sections(RECORDED)
IMAGE = SECTIONS["images"].strip().partition("\t")[0]
# Nothing was asked of the host for these: they are judged from the facts and the plan alone.
NOT_READ = {"gpu.visible", "clock.synchronised", "packages.held"}
# It has no GPU, and no service that could run out of a GPU's memory.
NOT_READ |= {"container.shared-memory", "gpu.in-container", "gpu.memory", "service.rung"}
# No driver is planned for it: tests/unit/test_verify_driver.py and test_verify_runtime.py judge these.
NOT_READ |= {name for name in CHECKS if name.startswith(("driver.", "kernel.", "runtime."))}
# Nothing is set on a host without GPUs: tests/unit/test_verify_power.py judges these.
NOT_READ |= {"power.limits", "power.clocks", "collectives.in-force"}


def plan_of(**data: object) -> HostPlan:
    settings = {
        "inference_services": [{"name": "chat"}],
        "inference_image_source": "local",
        "inference_image": IMAGE,
        **data,
    }
    found = plan_host(FACTS, read_settings(settings), catalog.load())
    assert isinstance(found, HostPlan), found
    return found


PLAN = plan_of()


def recorded() -> dict[str, str]:
    """The recording, with what each release of ours may change brought to today's plan: names, texts, the stamp."""
    files = [
        f"{file.path}\t{file.mode}\troot:root\t{sha256(render(file).encode()).hexdigest()}\troot"
        for file in planned(PLAN, ManagedFile)
    ]
    dropped = (*PLAN.base.dropped_files, *PLAN.container_engine.dropped_files)
    packages = [f"{name}\tii" for p in planned(PLAN, Package) for name in (p.name, *p.alternatives)]
    watches = [f"{unit.name}\t{path}\t1" for unit in planned(PLAN, Unit) for path in unit.watches]
    variables = [f"{s.container}\t{name}\t{v}" for s in planned(PLAN, Service) for name, v in s.environment]
    rows = [row for row in SECTIONS["texts"].splitlines() if '"plan":' not in row]
    at = next(index for index, row in enumerate(rows) if row.startswith(f"{STAMP}\t={{"))
    rows.insert(at + 1, f'{STAMP}\t= "plan": "{PLAN.digest}",')
    return {
        **SECTIONS,
        "files": "\n".join([*files, *(f"{path}\tabsent\t-\t-\t-" for path in dropped)]),
        "packages": "\n".join(packages),
        "watches": "\n".join(watches),
        "variables": "\n".join(variables),
        "texts": "\n".join(rows),
        "owners_of_settings": "",
    }


def judged(sections: dict[str, str], hashed: bool = True, plan: HostPlan = PLAN) -> dict[str, list[Verdict]]:
    readings = Readings(FACTS, sections, hashed)
    return {name: list(check.judge(readings, plan)) for name, check in CHECKS.items()}


def status(sections: dict[str, str], check: str, **more: bool) -> set[str]:
    return {verdict.status for verdict in judged(sections, **more)[check]}


def test_a_good_host_passes_and_says_what_was_skipped() -> None:
    for name, verdicts in judged(recorded()).items():
        expected = "skip" if name in NOT_READ else "pass"
        assert {verdict.status for verdict in verdicts} == {expected}, verdicts
        assert all(verdict.observed for verdict in verdicts)


BAD = [
    ("packages", "curl\tii", "curl\trc", "packages.installed"),
    ("packages", "curl\tii", "curl\tun", "packages.installed"),
    ("files", "0755\troot:root", "0777\troot:root", "files.as-rendered"),
    ("files", "0755\troot:root", "0755\tops:ops", "files.as-rendered"),
    ("files", "\troot\n", "\topen\n", "files.as-rendered"),
    ("files", "ready\t0755\troot:root", "ready\tlink\t-", "files.as-rendered"),
    ("files", "ready\t0755\troot:root", "ready\tabsent\t-", "files.as-rendered"),
    ("files", "proxy.env\tabsent", "proxy.env\t0644", "files.dropped"),
    ("manager", "infinity", "8388608", "manager.limits"),
    ("accounts", "/usr/sbin/nologin", "/bin/bash", "account.no-login"),
    ("accounts", "\tL\t", "\tNP\t", "account.no-login"),
    ("accounts", "\t_gpuwright\n", "\t_gpuwright,docker\n", "account.no-login"),
    ("accounts", "\t_gpuwright\n", "\tnone\n", "account.no-login"),
    ("env_files", "0600", "0644", "keys.private"),
    ("env_files", "root:root\t1", "root:root\t0", "keys.private"),
    ("env_files", "right\tright", "wrong\tright", "keys.private"),
    ("texts", "daemon.json\t={", "daemon.json\t=not json {", "engine.daemon-json"),
    ("units", "ActiveState=active", "ActiveState=failed", "unit.active"),
    ("units", "UnitFileState=enabled", "UnitFileState=disabled", "unit.enabled"),
    ("units", "UnitFileState=enabled", "UnitFileState=masked", "unit.enabled"),
    ("units", "NeedDaemonReload=no", "NeedDaemonReload=yes", "unit.loaded"),
    ("units", "DropInPaths=", "DropInPaths=/etc/systemd/system/a.d/b.conf", "unit.no-drop-ins"),
    ("watches", "chat.conf\t1", "chat.conf\t4000000000000000000", "unit.fresh"),
    ("our_units", "gpuwright-chat.service", "gpuwright-old.service", "units.only-declared"),
    ("our_containers", "gpuwright-chat", "gpuwright-x", "units.only-declared"),
    ("texts", PLAN.digest, "0" * 64, "stamp.plan"),
    ("texts", '"port": 8080', '"port": 8081', "stamp.services"),
    ("containers", '"State":"running"', '"State":"exited"', "container.running"),
    ("containers", '"Start":"', '"Start":"0', "container.own"),
    ("containers", '"Start":"', '"Start":null,"S":"', "container.own"),
    ("units", "InvocationID=", "InvocationID=0", "container.own"),
    ("containers", '"Image":"sha256:', '"Image":"sha256:0', "container.image"),
    ("images", IMAGE + "\tsha256:", IMAGE + "\tsha256:0", "container.image"),
    ("containers", '"Privileged":false', '"Privileged":true', "container.privileged"),
    ("containers", '"Devices":', '"Devices":[{"PathOnHost":"/dev/mem"}],"D":', "container.privileged"),
    ("containers", '"CapDrop":["ALL"]', '"CapDrop":null', "container.capabilities"),
    ("containers", '"CapAdd":null', '"CapAdd":["SYS_ADMIN"]', "container.capabilities"),
    ("containers", '"no-new-privileges"', '"seccomp=unconfined"', "container.no-new-privileges"),
    ("containers", '"ReadonlyRootfs":true', '"ReadonlyRootfs":false', "container.read-only"),
    ("containers", '"User":"', '"User":"0', "container.user"),
    ("containers", f'"Memory":{PLAN.inference.services[0].memory_bytes}', '"Memory":0', "container.memory"),
    ("containers", '"NetworkMode":"host"', '"NetworkMode":"bridge"', "container.namespaces"),
    ("containers", '"PidMode":""', '"PidMode":"host"', "container.namespaces"),
    ("containers", '"RW":false', '"RW":true', "container.mounts"),
    (
        "containers",
        '"Mounts":[',
        '"Mounts":[{"Source":"/","Destination":"/host","RW":true},',
        "container.mounts",
    ),
    ("variables", "LLAMA_ARG_HOST\t127.0.0.1", "LLAMA_ARG_HOST\t0.0.0.0", "container.environment"),
    ("processes", "0000000000000000\t0000000000000000\t1", "00000000a80425fb\t0\t1", "container.process"),
    ("processes", "\t1\t", "\t0\t", "container.process"),
    ("listeners", "127.0.0.1:8080", "0.0.0.0:8080", "service.port-loopback"),
    ("listeners", "127.0.0.1:8080", "[::]:8080", "service.port-loopback"),
    ("listeners", "127.0.0.1:8080", "127.0.0.1:9999", "service.port-loopback"),
    ("listeners", "127.0.0.1:8080", "127.0.0.1:9999", "service.port-owner"),
    ("processes", "mnt:[", "mnt:[1", "service.port-owner"),
    ("doors:chat", "401", "200", "service.key-required"),
    ("doors:chat", "401", "000", "service.key-required"),
    ("completion:chat", "Paris", "Lyon", "service.completion"),
    ("completion:chat", '"stop"', "null", "service.completion"),
    ("completion:chat", '"completion_tokens"', '"other"', "service.completion"),
    ("completion:chat", "\n200 ", "\n503 ", "service.completion"),
    ("completion:chat", "\n200 ", "\nforeign ", "service.completion"),
    ("completion:chat", '"completion_tokens"', '"other"', "service.tokens-per-second"),
    ("completion:chat", '"model":"smollm2-135m-instruct"', '"model":"other"', "service.model-served"),
    ("texts", '"version": "0.1.2"', '"version": "0.1.1"', "model.source"),
    ("model_files", "\t98362432", "\t98362431", "model.sizes"),
    ("model_files", "\t98362432\t", "\t98362432\t1", "model.untouched"),
    ("model_exposed", "", "/var/lib/gpuwright/models/smollm2-135m-instruct\n", "model.untouched"),
    ("digests", "sha256:b179c9", "sha256:000000", "model.digests"),
]


@pytest.mark.parametrize(("section", "old", "new", "check"), BAD, ids=lambda value: str(value)[:40])
def test_a_bad_reading_fails_its_check(section: str, old: str, new: str, check: str) -> None:
    sections = recorded()
    assert old in sections[section]
    sections[section] = sections[section].replace(old, new, 1 if not old else -1)
    verdicts = judged(sections)[check]
    wrong = [verdict for verdict in verdicts if verdict.status == "fail"]
    assert wrong, verdicts
    assert all(verdict.meaning and verdict.action and verdict.source for verdict in wrong)


ABSENT = [
    ("accounts", "_gpuwright\tabsent\t-\t-", {"account.no-login"}),
    ("env_files", "/etc/gpuwright/chat.env\tabsent\t-\t-\t-\t-\t-\t-", {"keys.private"}),
    ("texts", "\n".join(f"{path}\tabsent" for path in Readings(FACTS, SECTIONS).texts or ()), {
        "stamp.plan", "stamp.services", "engine.daemon-json", "model.source", "model.sizes", "model.digests",
        "model.untouched",
    }),
    ("images", f"{IMAGE}\tabsent", {"container.image"}),
    ("containers", "gpuwright-chat\tabsent", {name for name in CHECKS if name.startswith("container.")} - {
        "container.environment", "container.process", "container.shared-memory",
    }),
    ("processes", "", {"container.process", "service.port-owner"}),
    ("variables", SECTIONS["variables"].replace("\t127.0.0.1", "\tabsent"), {"container.environment"}),
    ("listeners", "", {"service.port-loopback", "service.port-owner"}),
    ("model_files", "", {"model.sizes"}),
    ("digests", "", {"model.digests"}),
    ("units", "\nUnit=docker.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead", {
        "unit.active", "unit.enabled", "unit.loaded",
    }),
]  # fmt: skip


@pytest.mark.parametrize(("section", "text", "checks"), ABSENT, ids=[row[0] for row in ABSENT])
def test_what_is_absent_fails(section: str, text: str, checks: set[str]) -> None:
    found = judged({**recorded(), section: text})
    for check in checks:
        assert "fail" in {verdict.status for verdict in found[check]}, found[check]


def test_no_readings_at_all_pass_nothing() -> None:
    for name, verdicts in judged({}).items():
        expected = {"skip"} if name in NOT_READ else {"unknown"}
        assert {verdict.status for verdict in verdicts} == expected, verdicts


@pytest.mark.parametrize("section", sorted(SECTIONS))
def test_a_section_that_is_missing_makes_checks_unknown_and_none_crash(section: str) -> None:
    sections = recorded()
    good = judged(sections)
    del sections[section]
    lost = [name for name, verdicts in judged(sections).items() if verdicts != good[name]]
    if section not in ("clock", "gpus", "rungs", "digest_seconds"):
        assert lost, f"no check reads {section}"
    for name in lost:
        found = {verdict.status for verdict in judged(sections)[name]}
        assert found & {"unknown", "fail"} or section == "digest_seconds", (name, found)


@pytest.mark.parametrize("section", sorted(set(SECTIONS) - {"clock", "gpus", "rungs", "digest_seconds"}))
def test_rows_that_were_cut_pass_no_more_than_whole_ones(section: str) -> None:
    """A section that ends in the middle of a row, though its frame is complete."""
    sections = recorded()
    text = sections[section].strip("\n")
    for length in range(0, len(text), max(1, len(text) // 40)):
        found = judged({**sections, section: text[:length]})
        assert all(verdicts for verdicts in found.values())


def test_output_that_was_cut_off_is_missing() -> None:
    for length in range(0, len(RECORDED), 997):
        sections = parse_sections(RECORDED[:length])
        assert all(SECTIONS[name] == text for name, text in sections.items())


def test_without_hashing_digests_are_unknown() -> None:
    assert status(recorded(), "model.digests", hashed=False) == {"unknown"}


def test_a_manifest_changed_along_with_its_file_is_seen() -> None:
    sections = recorded()
    digest = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    planted = f"sha256:{'0' * 64}"
    sections["texts"] = sections["texts"].replace(f"sha256:{digest}", planted)
    sections["digests"] = sections["digests"].replace(f"sha256:{digest}", planted)
    (verdict,) = judged(sections)["model.digests"]
    assert verdict.status == "fail"
    assert "another digest than its source" in verdict.observed


def test_values_of_daemon_json_are_not_shown() -> None:
    plan = plan_of(container_engine_daemon_json={"proxies": {"http-proxy": "http://me:hidden-word@proxy:1"}})
    (verdict,) = judged(recorded(), plan=plan)["engine.daemon-json"]
    assert verdict.status == "fail"
    assert "proxies" in verdict.observed
    assert "hidden-word" not in str(verdict)


def gpus(bound: dict[str, str], given: tuple[str, ...]) -> Verdict:
    devices = tuple(PciDevice(address, "030200", "10de", "2335", "10de", "18be") for address in bound)
    facts = replace(FACTS, pci=devices)
    needs = tuple(GpuNeed(address, 1, 1) for address in given)
    services = tuple(replace(service, gpus=needs) for service in PLAN.inference.services)
    plan = replace(PLAN, inference=replace(PLAN.inference, services=services))
    text = "\n".join(f"{address}\t{driver}" for address, driver in bound.items())
    (verdict,) = CHECKS["gpu.visible"].judge(Readings(facts, {"gpus": text}), plan)
    return verdict


def test_a_service_whose_gpu_no_driver_holds_fails() -> None:
    first, second = "0000:41:00.0", "0000:42:00.0"
    assert gpus({first: "nvidia", second: "nvidia"}, ()).status == "skip"
    assert gpus({first: "nvidia", second: "none"}, (first, second)).status == "fail"
    assert gpus({first: "nvidia", second: "vfio-pci"}, (second,)).status == "fail"
    assert gpus({first: "nvidia", second: "vfio-pci"}, (first,)).status == "pass"
    assert gpus({first: "nvidia"}, (first, second)).status == "fail"


def test_answers() -> None:
    assert Probe("?", "equals", "ok").accepts(" ok\n")
    assert not Probe("?", "equals", "ok").accepts("ok ok")
    assert not Probe("?", "any", "").accepts(" ")
    assert probe_for("ok").expects == "ok"
    assert probe_for("a model that nobody knows").match == "any"
    assert json.loads(probe_for("ok").request("ok"))["temperature"] == 0


def test_every_check_is_a_question_with_a_source() -> None:
    for check in CHECKS.values():
        assert "?" in check.title
        assert check.source
