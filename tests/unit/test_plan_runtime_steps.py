"""Slice gpu_runtime: what follows from the way in which containers get GPUs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpuwright import catalog
from gpuwright.errors import GpuwrightError
from gpuwright.locks import LockedVersions
from gpuwright.operations.locked_packages import below, too_old
from gpuwright.plan import HostPlan, plan_host
from gpuwright.plan.stack_model import RuntimeSteps
from gpuwright.render import render
from gpuwright.settings import read_settings
from tests.unit.test_verify_driver import machine, planned

EMPTY = RuntimeSteps((), (), (), (), (), ())
FOUR = (
    "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
    "libnvidia-container-tools",
    "libnvidia-container1",
)


def steps(name: str, **settings: object) -> RuntimeSteps:
    return planned(machine(name), inference_services=[], **settings).gpu_runtime


@pytest.mark.parametrize("name", ["debian13-metal-cpu", "ubuntu2404-no-gpu", "sandbox-debian13"])
def test_without_compute_gpus_there_is_nothing_to_do(name: str) -> None:
    assert steps(name) == EMPTY


@pytest.mark.parametrize(
    ("name", "minimum"), [("debian13-2x4090", "1.20.0"), ("ubuntu2404-2x4090", "1.18.0")]
)
def test_nvidias_toolkit_is_a_locked_set_of_its_own(name: str, minimum: str) -> None:
    plan = steps(name)
    (locked,), (spec,), (unit,) = plan.locked, plan.specs, plan.units
    assert (locked.packages, locked.minimum) == (FOUR, minimum)
    # No process loses a GPU when it changes, so none stands in its way.
    assert (locked.devices, locked.daemons) == ((), ())
    assert spec.toolkit == locked.name
    assert unit.name == "nvidia-cdi-refresh.path"
    assert plan.nodes == ()


def test_the_unit_makes_the_nodes_before_it_makes_the_specification() -> None:
    (file,) = steps("debian13-2x4090").files
    assert file.path == "/etc/systemd/system/nvidia-cdi-refresh.service.d/gpuwright.conf"
    text = render(file)
    assert (
        "ExecStartPre=-/bin/sh -c 'nvidia-modprobe -u -c=0 || nvidia-ctk system create-device-nodes" in text
    )
    # The package's own condition does not know Debian's open module.
    assert 'ExecCondition=\nExecCondition=/bin/sh -c \'grep -qE "/nvidia[^/]*[.]ko" /lib/modules/%v/' in text
    assert "After=nvidia-persistenced.service nvidia-fabricmanager.service\n" in text


def test_the_specification_is_of_the_module_that_the_driver_has() -> None:
    (spec,) = steps("debian13-4090-debian-driver").specs
    assert spec.module.startswith("nvidia-current")
    (spec,) = steps("debian13-2x4090").specs
    assert spec.module == "nvidia"


@pytest.mark.parametrize("name", ["ubuntu2204-2x3090-run", "ubuntu2404-2x4090-driver"])
def test_a_driver_of_other_hands_gets_the_toolkit_too(name: str) -> None:
    plan = steps(name)
    assert plan.locked[0].packages == FOUR and plan.specs and plan.units and plan.repositories


def test_amds_gpus_come_as_nodes_one_for_each() -> None:
    plan = steps("debian13-8xmi300x")
    (nodes,) = plan.nodes
    assert (nodes.common, nodes.group, len(nodes.gpus)) == (("/dev/kfd",), "render", 8)
    assert plan == replace(EMPTY, nodes=(nodes,))


def test_amds_toolkit_generates_by_a_command() -> None:
    plan = steps("ubuntu2404-2xw7900-p2p", gpu_runtime_method="cdi")
    (locked,), (spec,) = plan.locked, plan.specs
    assert (locked.packages, locked.minimum) == (("amd-container-toolkit",), "")
    assert (spec.path, spec.service, spec.copies) == ("/etc/cdi/amd.json", "", ("/var/run/cdi/amd.json",))
    assert spec.generate == "amd-ctk cdi generate --output=/etc/cdi/amd.json"
    assert (plan.files, plan.units, plan.nodes) == ((), (), ())


def test_two_vendors_each_get_their_own() -> None:
    plan = steps("ubuntu2404-w7900-4090")
    assert [spec.vendor for spec in plan.specs] == ["nvidia"]
    assert [nodes.vendor for nodes in plan.nodes] == ["amd"]
    both = steps("ubuntu2404-w7900-4090", gpu_runtime_method="cdi")
    assert [spec.vendor for spec in both.specs] == ["nvidia", "amd"]
    assert [locked.name for locked in both.locked] == ["nvidia-container-toolkit", "amd-container-toolkit"]


def test_the_reasons_name_their_sources() -> None:
    plan = planned(machine("ubuntu2404-w7900-4090"))
    for path in ("locked.0.minimum", "specs.0.copies.0", "files.0.path", "nodes.0.group", "units.0.name"):
        assert plan.why[f"gpu_runtime.{path}"].source
    assert "ubuntu" in plan.why["gpu_runtime.locked.0.minimum"].reason


@pytest.mark.parametrize("method", ["cdii", "CDI", "device_nodes", "none", ""])
def test_a_way_that_is_none_is_refused(method: str) -> None:
    with pytest.raises(GpuwrightError, match="setting gpu_runtime_method: ") as caught:
        read_settings({"gpu_runtime_method": method})
    assert "roles/gpu_runtime/README.md" in str(caught.value)


def test_a_way_that_does_not_fit_refuses_the_host() -> None:
    settings = read_settings({"gpu_runtime_method": "device-nodes", "inference_services": []})
    refused = plan_host(machine("debian13-2x4090"), settings, catalog.load())
    assert not isinstance(refused, HostPlan)
    assert "setting gpu_runtime_method" in [refusal.subject for refusal in refused]


@pytest.mark.parametrize(
    ("version", "old"),
    [("1.17.8-1", True), ("1.20.0-1", False), ("1.20.1-1", False), ("1:1.17.8-1", True), ("2.0-1", False),
     ("1.20-1", True), ("unknown", True)],
)  # fmt: skip
def test_a_package_below_the_minimum(version: str, old: bool) -> None:
    assert below(version, "1.20.0") is old
    assert below(version, "") is False


@pytest.mark.parametrize(
    ("where", "remedy"), [("installed", "gpuwright lock HOST --update"), ("offered", "repository")]
)
def test_what_is_too_old_is_named_with_a_remedy(where: str, remedy: str) -> None:
    (locked,) = steps("debian13-2x4090").locked
    refusal = too_old(locked, ["nvidia-container-toolkit 1.17.8-1"], where)
    assert (refusal.subject, refusal.observed) == (
        "nvidia-container-toolkit",
        f"nvidia-container-toolkit 1.17.8-1 {where}",
    )
    assert refusal.required.startswith("1.20.0 or newer") and remedy in refusal.remedy


def test_a_lock_counts_before_what_is_installed() -> None:
    """So that `gpuwright lock HOST --update` ends the refusal of an old toolkit."""
    from gpuwright.operations.locked import _too_old
    from gpuwright.operations.locked_packages import LockedPackages

    (locked,) = steps("debian13-2x4090").locked
    there = LockedPackages().process([f"{name}\t1.17.8-1\tinstall\tinstalled\t, " for name in FOUR])
    assert len(_too_old(locked, there, {})) == 4
    newer = LockedVersions(FOUR, dict.fromkeys(FOUR, "1.20.0-1")).versions
    assert _too_old(locked, there, newer) == ()
    assert _too_old(locked, {}, dict.fromkeys(FOUR, "1.17.8-1"))[0] == f"{FOUR[0]} 1.17.8-1"
