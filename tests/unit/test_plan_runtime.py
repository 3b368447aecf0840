"""How containers get GPUs: one way for each vendor, or a refusal that names the others."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest

from gpuwright import catalog
from gpuwright.catalog import Catalog
from gpuwright.facts import HostFacts
from gpuwright.facts.model import InstalledPackage
from gpuwright.plan.container_engine import plan_container_engine
from gpuwright.plan.gpu_model import DriverPlan, RuntimePlan
from gpuwright.plan.notes import Notes
from gpuwright.plan.runtime import plan_runtimes
from gpuwright.settings import read_settings

ROWS = catalog.load()
FLEET = Path(__file__).parents[1] / "fleet"
HOST = HostFacts.from_json((FLEET / "ubuntu2404-2x4090" / "facts.json").read_text())


def on(os: str, arch: str = "x86_64") -> HostFacts:
    name, version = os.split()
    return replace(HOST, os_id=name, os_version=version, os_name=os, arch=arch)


def driver(vendor: str, delivery: str = "dkms") -> DriverPlan:
    return DriverPlan(vendor, "amd", "1", "open", delivery, (), (), (), (), (), "m", (), (), (), ())


def planned(
    facts: HostFacts, *drivers: DriverPlan, method: str = "auto", rows: Catalog = ROWS
) -> tuple[tuple[RuntimePlan, ...], Notes]:
    notes = Notes()
    settings = read_settings({"gpu_runtime_method": method})
    return plan_runtimes(facts, settings, rows, (), drivers, notes), notes


def test_no_driver_no_runtime() -> None:
    plans, notes = planned(HOST)
    assert plans == () and not notes.refusals


@pytest.mark.parametrize("delivery", ["prebuilt", "dkms", "unmanaged"])
def test_nvidia_gets_cdi_whoever_brought_the_driver(delivery: str) -> None:
    (plan,), notes = planned(HOST, driver("nvidia", delivery))
    (repository,) = plan.repositories
    assert (plan.vendor, plan.method) == ("nvidia", "cdi")
    assert plan.packages == (
        "nvidia-container-toolkit",
        "nvidia-container-toolkit-base",
        "libnvidia-container-tools",
        "libnvidia-container1",
    )
    assert repository.uri == "https://nvidia.github.io/libnvidia-container/stable/deb/amd64"
    assert (repository.suite, repository.components) == ("/", ())
    why = notes.explain(["runtimes.0.method", "runtimes.0.packages.3", "runtimes.0.repositories.0.uri"])
    assert all(reason.source for reason in why.values())


def test_debian_needs_a_newer_toolkit() -> None:
    reasons = {}
    for os in ("debian 13", "ubuntu 24.04"):
        _, notes = planned(on(os), driver("nvidia"))
        reasons[os] = notes.explain(["runtimes.0.packages.0"])["runtimes.0.packages.0"].reason
    assert "1.20.0 or newer" in reasons["debian 13"] and "1.18.0 or newer" in reasons["ubuntu 24.04"]


def test_nvidia_on_arm() -> None:
    (plan,), _ = planned(on("ubuntu 24.04", "aarch64"), driver("nvidia"))
    assert plan.repositories[0].uri.endswith("/arm64") and plan.repositories[0].architecture == "arm64"


def test_amd_gets_device_nodes_and_needs_nothing() -> None:
    (plan,), _ = planned(on("debian 12"), driver("amd"))
    assert plan == RuntimePlan("amd", "device-nodes", (), ())


def test_two_vendors_two_ways() -> None:
    plans, notes = planned(HOST, driver("nvidia"), driver("amd"))
    assert [(plan.vendor, plan.method) for plan in plans] == [("nvidia", "cdi"), ("amd", "device-nodes")]
    assert "amd" in notes.explain(["runtimes.1.method"])["runtimes.1.method"].reason


@pytest.mark.parametrize(
    ("os", "suite"), [("debian 13", "noble"), ("ubuntu 24.04", "noble"), ("ubuntu 22.04", "jammy")]
)
def test_amds_toolkit_where_it_is_declared(os: str, suite: str) -> None:
    (plan,), _ = planned(on(os), driver("amd"), method="cdi")
    assert plan.method == "cdi" and plan.packages == ("amd-container-toolkit",)
    assert [repository.suite for repository in plan.repositories] == [suite]


@pytest.mark.parametrize(("os", "arch"), [("debian 12", "x86_64"), ("ubuntu 24.04", "aarch64")])
def test_amds_toolkit_where_it_is_not_published(os: str, arch: str) -> None:
    plans, notes = planned(on(os, arch), driver("amd"), method="cdi")
    (refusal,) = notes.refusals
    assert plans == () and refusal.subject == "setting gpu_runtime_method"
    assert f"amd-container-toolkit is not published for {os} on {arch}" in refusal.observed
    assert refusal.required == "for amd: device-nodes"


def test_device_nodes_alone_are_not_enough_for_nvidia() -> None:
    plans, notes = planned(HOST, driver("nvidia"), driver("amd"), method="device-nodes")
    (refusal,) = notes.refusals
    assert [plan.vendor for plan in plans] == ["amd"]
    assert "without the driver's libraries" in refusal.observed and refusal.required == "for nvidia: cdi"


def test_one_row_changes_the_plans_it_is_about() -> None:
    rows = tuple(
        row.model_copy(update={"uri": "https://mirror"}) if row.name == "amd-container-toolkit" else row
        for row in ROWS.runtimes
    )
    other = replace(ROWS, runtimes=rows)
    for method, drivers, changes in (
        ("auto", (driver("nvidia"), driver("amd")), False),
        ("cdi", (driver("nvidia"),), False),
        ("cdi", (driver("amd"),), True),
    ):
        before, _ = planned(HOST, *drivers, method=method)
        after, _ = planned(HOST, *drivers, method=method, rows=other)
        assert (before != after) == changes


def test_a_docker_too_old_for_the_method_is_refused_unless_another_is_there() -> None:
    bookworm = on("debian 12")
    _, notes = planned(bookworm, driver("nvidia"))
    (refusal,) = notes.refusals
    assert refusal.subject == "setting container_engine_source" and "20.10" in refusal.observed
    assert 'container_engine_source = "docker.com"' in refusal.remedy
    found = replace(
        bookworm.found, packages=(InstalledPackage("docker-ce", "5:28.5.2-1~debian.12~bookworm"),)
    )
    _, notes = planned(replace(bookworm, found=found), driver("nvidia"))
    assert not notes.refusals
    _, notes = planned(bookworm, driver("amd"))
    assert not notes.refusals


def engine(
    *runtimes: RuntimePlan, facts: HostFacts = HOST, rows: Catalog = ROWS, **settings: object
) -> tuple[dict[str, object], str]:
    """The keys for daemon.json, and why."""
    notes = Notes()
    plan = plan_container_engine(facts, read_settings(settings), rows, runtimes, notes)
    (merge,) = plan.daemon_json
    path = "container_engine.daemon_json.0.values"
    return json.loads(merge.values), notes.explain([path])[path].reason


CDI, NODES = RuntimePlan("nvidia", "cdi", (), ()), RuntimePlan("amd", "device-nodes", (), ())


@pytest.mark.parametrize("os", ["debian 12", "debian 13", "ubuntu 24.04"])
@pytest.mark.parametrize("source", ["distribution", "docker.com"])
def test_docker_is_told_about_cdi_whatever_its_version(os: str, source: str) -> None:
    keys, why = engine(NODES, CDI, facts=on(os), container_engine_source=source)
    assert keys == {"features": {"cdi": True}}
    assert "nvidia GPUs by CDI, which Docker before 28.3" in why


@pytest.mark.parametrize("runtimes", [(), (NODES,)])
def test_without_cdi_docker_is_told_nothing(runtimes: tuple[RuntimePlan, ...]) -> None:
    keys, why = engine(*runtimes)
    assert keys == {} and why.startswith("as declared")


@pytest.mark.parametrize(
    ("declared", "features"),
    [
        ({"features": {"containerd-snapshotter": True}}, {"cdi": True, "containerd-snapshotter": True}),
        ({"features": {"cdi": False}}, {"cdi": False}),
        ({"features": None}, None),
    ],
)
def test_declared_features_stay_and_win(declared: dict[str, object], features: object) -> None:
    before = copy.deepcopy(declared)
    keys, _ = engine(CDI, container_engine_daemon_json={"debug": True, **declared})
    assert keys == {"debug": True, "features": features}
    assert declared == before
