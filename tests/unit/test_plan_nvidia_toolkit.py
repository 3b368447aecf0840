"""A CUDA toolkit on the host: only where it is declared, from NVIDIA's repository, for a driver that runs it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpuwright.catalog.version import numbers
from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.facts import HostFacts
from gpuwright.operations.locked_packages import belongs
from gpuwright.plan import HostPlan, plan_host
from gpuwright.plan.nvidia.model import NvidiaDriverPlan
from gpuwright.settings import read_settings
from tests.synthetic import host
from tests.unit.nvidia_host import CATALOG, P40, RTX3090, RTX4090, loaded, refused, with_found


def planned(facts: HostFacts, **settings: object) -> HostPlan:
    plan = plan_host(facts, read_settings(settings), CATALOG)
    assert isinstance(plan, HostPlan), [str(each) for each in plan if isinstance(each, Refusal)]
    return plan


def toolkit(plan: HostPlan) -> tuple[str, ...]:
    (driver,) = plan.drivers
    assert isinstance(driver, NvidiaDriverPlan)
    return driver.toolkit


def locked(plan: HostPlan) -> dict[str, tuple[str, ...]]:
    return {each.name: each.first + each.packages for each in plan.nvidia_driver.locked}


def test_none_is_there_by_default() -> None:
    plan = planned(host("debian 13", [RTX4090]))
    assert toolkit(plan) == ()
    assert set(locked(plan)) == {"nvidia"}


def test_the_metapackage_without_a_driver_is_a_locked_set_of_its_own() -> None:
    plan = planned(host("debian 13", [RTX4090]), nvidia_driver_cuda_toolkit="13.3")
    assert toolkit(plan) == ("cuda-toolkit-13-3",)
    assert locked(plan)["cuda-toolkit"] == ("cuda-toolkit-13-3",)
    assert not [name for name in locked(plan)["nvidia"] if name.startswith("cuda")]
    assert list(locked(plan)) == ["nvidia", "cuda-toolkit"]  # first the driver
    where = [each.name for each in plan.nvidia_driver.locked].index("cuda-toolkit")
    assert "nvidia_driver_cuda_toolkit" in plan.why[f"nvidia_driver.locked.{where}.packages.0"].reason


@pytest.mark.parametrize("version", ["12.9", "13.0"])
def test_a_driver_change_neither_needs_nor_touches_it(version: str) -> None:
    facts = host("ubuntu 24.04", [RTX4090])
    settings = {"nvidia_driver_source": "nvidia", "nvidia_driver_cuda_toolkit": version}
    plan = planned(facts, **settings)
    (own,) = (each for each in plan.nvidia_driver.locked if each.name == "cuda-toolkit")
    assert (own.devices, own.daemons, own.suite) == ((), (), "")
    names = f"cuda-nvcc-{version}, libcublas-dev-{version}, cuda-toolkit-{version}-config-common".replace(
        ".", "-"
    )
    assert all(belongs(own, name) for name in names.split(", "))
    others = ("cuda-nvcc-11-8", "libcuda1", "cuda-drivers-580", "nvidia-dkms-580-open", "cuda-toolkit")
    assert not [name for name in others if belongs(own, name)]
    assert "runs it" in plan.why["drivers.0.toolkit.0"].reason


def test_a_newer_toolkit_than_the_branch_says_what_it_cannot() -> None:
    plan = planned(
        host("debian 13", [RTX4090]), nvidia_driver_cuda_toolkit="13.2", nvidia_driver_branch="580"
    )
    assert "PTX" in plan.why["drivers.0.toolkit.0"].reason
    plan = planned(
        host("debian 13", [RTX4090]), nvidia_driver_cuda_toolkit="13.2", nvidia_driver_branch="595"
    )
    assert "PTX" not in plan.why["drivers.0.toolkit.0"].reason


def test_a_branch_that_does_not_run_it_is_refused_with_those_that_it_runs() -> None:
    refusal = refused(
        host("debian 12", [RTX4090]),
        nvidia_driver_source="nvidia",
        nvidia_driver_branch="570",
        nvidia_driver_cuda_toolkit="13.0",
    )
    assert refusal.subject == "setting nvidia_driver_cuda_toolkit"
    assert "580" in refusal.observed and "570" in refusal.observed
    assert "12.9" in refusal.required and "13." not in refusal.required


def test_the_distributions_driver_is_refused_with_what_works() -> None:
    facts = host("ubuntu 24.04", [RTX4090])
    refusal = refused(facts, nvidia_driver_cuda_toolkit="13.0")
    assert "distribution" in refusal.observed
    assert 'nvidia_driver_source = "nvidia"' in refusal.remedy and '"none"' in refusal.remedy
    plan = planned(facts, nvidia_driver_cuda_toolkit="13.0", nvidia_driver_source="nvidia")
    assert toolkit(plan) == ("cuda-toolkit-13-0",)


def test_another_hands_driver_is_refused_too() -> None:
    inside = replace(host("ubuntu 24.04", ["H200 SXM"]), virtualisation="docker")
    facts = with_found(inside, loaded("580.95.05", "open", "outside"))
    assert refused(facts, nvidia_driver_cuda_toolkit="13.0").subject == "setting nvidia_driver_cuda_toolkit"


def test_a_release_without_it_names_those_that_it_has() -> None:
    refusal = refused(host("debian 13", [RTX4090]), nvidia_driver_cuda_toolkit="12.9")
    assert "13.3" in refusal.required and "12." not in refusal.required


def test_one_that_compiles_for_none_of_the_cards_is_refused() -> None:
    refusal = refused(host("debian 12", [P40]), nvidia_driver_cuda_toolkit="13.0")
    assert "Tesla P40 (pascal)" in refusal.observed
    assert "12.9" in refusal.required and "13." not in refusal.required
    docker = {"container_engine_source": "docker.com"}
    facts = host("debian 12", [P40])
    assert toolkit(planned(facts, nvidia_driver_cuda_toolkit="12.9", **docker)) == ("cuda-toolkit-12-9",)
    both = planned(host("debian 12", [P40, RTX3090]), nvidia_driver_cuda_toolkit="13.0", **docker)
    assert "nothing for Tesla P40" in both.why["drivers.0.toolkit.0"].reason


def test_one_that_nobody_knows_is_refused() -> None:
    refusal = refused(host("debian 13", [RTX4090]), nvidia_driver_cuda_toolkit="99.1")
    assert "99.1" in refusal.observed and "13.0" in refusal.required
    with pytest.raises(GpuwrightError):
        read_settings({"nvidia_driver_cuda_toolkit": "latest"})


def test_a_host_without_a_card_gets_none() -> None:
    plan = planned(host("debian 13"), nvidia_driver_cuda_toolkit="13.3")
    assert plan.nvidia_driver.locked == ()


def test_the_rows_hang_together() -> None:
    for row in CATALOG.nvidia.toolkits:
        assert row.package == f"cuda-toolkit-{row.version.replace('.', '-')}"
        branch = CATALOG.nvidia.branch(numbers(row.driver)[0])
        assert branch and branch.cuda == row.version
        assert numbers(CATALOG.nvidia.cuda_of(row).driver) <= numbers(row.driver)
