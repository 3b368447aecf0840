"""NVSwitch's manager, exactly where there are switches; and what is held together with it."""

from __future__ import annotations

from dataclasses import replace

from gpuwright.plan.gpu_model import FabricPlan, HoldsPlan
from tests.synthetic import host
from tests.unit.nvidia_host import (
    B200,
    RTX4090,
    SIGNED,
    loaded,
    planned,
    switched,
    with_found,
)


def test_fabric_manager_exactly_with_nvswitch() -> None:
    facts = host("ubuntu 22.04", ["H100 SXM"] * 8)
    assert planned(facts).fabric == FabricPlan((), (), (), ())
    fabric = planned(switched(facts)).fabric
    assert fabric.packages == ("nvidia-fabricmanager-580", "libnvidia-nscq-580")
    assert fabric.components == ("multiverse",)
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
