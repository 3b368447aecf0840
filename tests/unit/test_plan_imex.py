"""IMEX: at the driver's version where NVLink leads to other machines, and on no board of one machine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpuwright.errors import GpuwrightError
from gpuwright.facts import HostFacts
from gpuwright.plan import HostPlan, plan_host
from gpuwright.render import render
from gpuwright.settings import read_settings
from tests.synthetic import host
from tests.unit.nvidia_host import B200, CATALOG, RTX4090, deployed, loaded, planned, switched, with_found

OPTION = CATALOG.nvidia.imex_use[0].option
UNIT = CATALOG.nvidia.imex_use[0].unit
NODES = ("10.0.0.12", "10.0.0.11")


def whole(facts: HostFacts, **settings: object) -> HostPlan:
    plan = plan_host(facts, read_settings(settings), CATALOG)
    assert isinstance(plan, HostPlan), plan
    return plan


def imex(packages: tuple[str, ...]) -> list[str]:
    return [name for name in packages if "imex" in name]


@pytest.mark.parametrize("card", ["GB200", "GB300"])
def test_a_tray_of_a_rack_gets_it_locked_with_its_driver(card: str) -> None:
    plan = whole(host("ubuntu 24.04", [card] * 4), nvidia_driver_source="nvidia")
    assert plan.fabric.packages == ("nvidia-imex",)  # and no fabric manager: the switches are outside
    (locked,) = plan.nvidia_driver.locked
    assert {"nvidia-imex", *plan.drivers[0].packages} <= set(locked.packages)
    assert "nvidia-imex" in plan.holds.packages
    assert "exactly the driver's version" in plan.why["fabric.packages.0"].reason


@pytest.mark.parametrize(
    ("os", "settings", "name"),
    [
        ("ubuntu 24.04", {"nvidia_driver_source": "distribution"}, "nvidia-imex-580"),
        (
            "ubuntu 24.04",
            {"nvidia_driver_source": "nvidia", "nvidia_driver_branch": "575"},
            "nvidia-imex-575",
        ),
        ("ubuntu 24.04", {"nvidia_driver_source": "nvidia", "nvidia_driver_branch": "595"}, "nvidia-imex"),
        ("debian 13", {}, "nvidia-imex"),
    ],
)
def test_each_source_calls_it_by_its_own_name(os: str, settings: dict[str, str], name: str) -> None:
    plan = planned(host(os, ["H100 SXM"]), CATALOG, nvidia_driver_imex="on", **settings)
    assert not plan.refusals and imex(plan.fabric.packages) == [name]
    ubuntus = settings.get("nvidia_driver_source") == "distribution"
    assert ("multiverse" in plan.fabric.components) is ubuntus


@pytest.mark.parametrize("cards", [[B200] * 8, ["B300"] * 8, ["H100 SXM"] * 8, [RTX4090], ["GH200 96GB"]])
def test_a_board_of_one_machine_has_none_unless_it_is_declared(cards: list[str]) -> None:
    facts = host("debian 13", cards)
    facts = switched(facts) if cards[0] == "H100 SXM" else facts
    bare = planned(facts)
    assert not imex(bare.fabric.packages) and bare.driver and OPTION not in bare.driver.options
    declared = planned(facts, CATALOG, nvidia_driver_imex="on")
    assert declared.fabric.packages == (*bare.fabric.packages, "nvidia-imex")
    assert declared.driver and OPTION in declared.driver.options


def test_it_can_be_switched_off() -> None:
    plan = planned(host("debian 13", ["GB200"] * 4), CATALOG, nvidia_driver_imex="off")
    assert not plan.fabric.packages and plan.driver and OPTION not in plan.driver.options


def test_its_channel_is_the_modules_to_make() -> None:
    plan = whole(host("debian 13", ["GB200"] * 4))
    (conf,) = (file for file in plan.nvidia_driver.files if file.path.startswith("/etc/modprobe.d/"))
    assert f"options nvidia {OPTION}" in render(conf).splitlines()
    assert "channel" in plan.why["drivers.0.options.0"].reason


def test_with_all_machines_declared_it_runs_and_restarts_when_they_change() -> None:
    facts = host("debian 13", ["GB200"] * 4)
    plan = whole(facts, nvidia_driver_imex_nodes=NODES)
    (file,) = (each for each in plan.nvidia_driver.files if "imex" in each.path)
    assert render(file).split() == sorted(NODES)  # one on each line, the same on every machine
    watches = {unit.name: unit.watches for unit in plan.nvidia_driver.units}
    assert file.path in watches[UNIT]
    assert not [name for name, paths in watches.items() if file.path in paths and name != UNIT]
    turned = whole(facts, nvidia_driver_imex_nodes=NODES[::-1])
    assert turned.nvidia_driver == plan.nvidia_driver
    assert UNIT in plan.nvidia_driver.locked[0].daemons  # holds the devices, and its package stops it


def test_without_them_whoever_starts_jobs_starts_it() -> None:
    plan = whole(host("debian 13", ["GB200"] * 4))
    assert UNIT not in [unit.name for unit in plan.nvidia_driver.units]
    assert not [file for file in plan.nvidia_driver.files if "imex" in file.path]


def test_a_list_for_the_racks_does_nothing_to_other_hosts() -> None:
    facts = host("debian 13", [RTX4090])
    assert whole(facts, nvidia_driver_imex_nodes=NODES).to_json() == whole(facts).to_json()


def test_a_source_that_lacks_it_is_refused_with_a_way_out() -> None:
    facts = host("debian 12", [RTX4090])
    plan = planned(facts, CATALOG, nvidia_driver_source="distribution", nvidia_driver_imex="on")
    (refusal,) = plan.refusals
    assert refusal.subject == "imex" and '"off"' in refusal.remedy and "535" in refusal.observed


def test_beside_another_hands_driver_there_is_none() -> None:
    inside = replace(host("ubuntu 24.04", ["GB200"] * 4), virtualisation="docker")
    facts = with_found(inside, loaded("580.95.05", "open", "outside"))
    assert planned(facts).fabric.packages == () and not planned(facts).refusals


def test_what_a_deploy_installed_gives_the_same_plan() -> None:
    facts = host("debian 13", ["GB200"] * 4)
    first = planned(facts)
    assert first.driver
    after = with_found(deployed(facts, first.driver), loaded("580.178.04"), [("nvidia-imex", "580.178.04-1")])
    assert planned(after).driver == first.driver and planned(after).fabric == first.fabric


@pytest.mark.parametrize("wrong", ["", "10.0.0.1 10.0.0.2", "-x", "a\nb"])
def test_an_address_is_one_word(wrong: str) -> None:
    with pytest.raises(GpuwrightError):
        read_settings({"nvidia_driver_imex_nodes": [wrong]})
