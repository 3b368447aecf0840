"""What sets limits and clocks at every boot: for which cards, by which unit, and what is refused instead."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from gpuwright import catalog
from gpuwright.errors import Refusal
from gpuwright.facts import HostFacts
from gpuwright.facts.model import Driver, Found
from gpuwright.operations.units import PREFIX
from gpuwright.plan import HostPlan, plan_host
from gpuwright.plan.gpu_model import CardSetting
from gpuwright.plan.power import SCRIPT, UNIT, UNIT_FILE
from gpuwright.render import render
from gpuwright.settings import read_settings
from tests.synthetic import host

CATALOG = catalog.load()
OS = "ubuntu 24.04"
RTX4090, W7900 = "GeForce RTX 4090", "Radeon PRO W7900"
PAIR = host(OS, [RTX4090] * 2)
ONE, OTHER = (gpu.address for gpu in PAIR.gpus)
# NVIDIA's .run installer: a driver without packages, and so without a daemon of ours.
RUN = replace(PAIR, found=Found((Driver("nvidia", "580.95.05", "open", "run", True),)))
# A container whose driver is that of the machine around it.
INSIDE = replace(
    PAIR, virtualisation="lxc", found=Found((Driver("nvidia", "580.95.05", "open", "outside", True),))
)


def answer(facts: HostFacts, **settings: object) -> HostPlan | tuple[Refusal, ...]:
    return plan_host(facts, read_settings(settings), CATALOG)


def planned(facts: HostFacts, **settings: object) -> HostPlan:
    plan = answer(facts, **settings)
    assert isinstance(plan, HostPlan), plan
    return plan


def refused(facts: HostFacts, **settings: object) -> Refusal:
    refusals = answer(facts, **settings)
    assert isinstance(refusals, tuple)
    (refusal,) = refusals
    return refusal


def text(plan: HostPlan, path: str) -> str:
    (file,) = (file for file in plan.power.files if file.path == path)
    return render(file)


def test_a_host_that_declares_nothing_gets_no_unit_and_loses_an_earlier_one() -> None:
    for facts in (PAIR, host(OS, [W7900]), host(OS), INSIDE):
        plan = planned(facts).power
        assert (plan.cards, plan.files, plan.units, plan.dropped) == ((), (), (), (UNIT,))


def test_limits_and_clocks_by_name_and_by_address_which_holds_over_it() -> None:
    plan = planned(
        PAIR,
        power_limit_watts={OTHER: 250, RTX4090: 300},
        power_clock_mhz={RTX4090: 2200, ONE: 1800},
    ).power
    assert plan.cards == (
        CardSetting("nvidia", "limit", ONE, 300),
        CardSetting("nvidia", "limit", OTHER, 250),
        CardSetting("nvidia", "clock", ONE, 1800),
        CardSetting("nvidia", "clock", OTHER, 2200),
    )
    assert plan.dropped == ()


def test_persistence_is_the_daemons_where_there_is_one() -> None:
    assert [unit.name for unit in planned(PAIR).nvidia_driver.units] == ["nvidia-persistenced.service"]
    kept = planned(RUN)
    assert kept.drivers[0].source == "unmanaged"
    assert kept.power.cards == tuple(CardSetting("nvidia", "persistence", a, 1) for a in (ONE, OTHER))
    assert planned(RUN, power_persistence=False).power.cards == ()


def test_a_radeon_has_a_limit_and_neither_clocks_nor_persistence() -> None:
    facts = host(OS, [W7900])
    (card,) = planned(facts, power_limit_watts={W7900: 241}).power.cards
    assert card == CardSetting("amd", "limit", facts.gpus[0].address, 241)


def test_the_unit_restarts_with_its_files_and_is_no_service_of_ours() -> None:
    """What has the prefix and is no declared service is removed by role inference."""
    (unit,) = planned(PAIR, power_limit_watts={RTX4090: 300}).power.units
    assert unit.watches == (SCRIPT, UNIT_FILE)
    assert not unit.name.startswith(PREFIX)


def test_the_unit_follows_the_daemon_that_keeps_what_was_set() -> None:
    daemon = "nvidia-persistenced.service"
    with_daemon = text(planned(PAIR, power_limit_watts={RTX4090: 300}), UNIT_FILE).splitlines()
    assert f"PartOf={daemon}" in with_daemon
    assert f"After=systemd-modules-load.service {daemon}" in with_daemon
    without = text(planned(RUN), UNIT_FILE)
    assert "PartOf" not in without and f"After=systemd-modules-load.service {daemon}\n" in without
    radeon = text(planned(host(OS, [W7900]), power_limit_watts={W7900: 241}), UNIT_FILE)
    assert daemon not in radeon and "\nAfter=systemd-modules-load.service\n" in radeon


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")
@pytest.mark.parametrize("facts", [PAIR, RUN], ids=["daemon", "run"])
def test_systemd_takes_the_unit(facts: HostFacts, tmp_path: Path) -> None:
    plan = planned(facts, power_limit_watts={RTX4090: 300})
    script = tmp_path / "gpu-power"
    script.write_text(text(plan, SCRIPT))
    script.chmod(0o755)
    unit = tmp_path / UNIT
    unit.write_text(text(plan, UNIT_FILE).replace(SCRIPT, str(script)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if UNIT in line]) == (0, [])
    unit.write_text(unit.read_text().replace("Type=oneshot", "Type=oneshoot"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert "oneshoot" in done.stderr


def test_the_script_is_posix_sh() -> None:
    plan = planned(PAIR, power_limit_watts={RTX4090: 300}, power_clock_mhz={ONE: 1800})
    subprocess.run(["sh", "-n", "-c", text(plan, SCRIPT)], check=True)


@pytest.mark.parametrize(
    ("cards", "settings", "says"),
    [
        ([RTX4090], {"power_clock_mhz": {"0000:99:00.0": 1800}}, "0000:11:00.0 (GeForce RTX 4090)"),
        ([RTX4090], {"power_clock_mhz": {"GeForce RTX 5090": 1800}}, "GeForce RTX 4090"),
        ([RTX4090], {"power_clock_mhz": {RTX4090: 0}}, "more than 0 MHz"),
        ([W7900], {"power_clock_mhz": {W7900: 1800}}, "differ by generation"),
        (["Tesla P40"], {"power_clock_mhz": {"Tesla P40": 1200}}, "Volta or newer"),
        ([RTX4090], {"power_limit_watts": {RTX4090: 451}}, "at most 450 W"),
        ([], {"power_limit_watts": {RTX4090: 300}}, "GPUs for computing are none"),
    ],
)
def test_what_no_card_here_can_be_set_to_is_refused(
    cards: list[str], settings: dict[str, dict[str, int]], says: str
) -> None:
    refusal = refused(host(OS, cards), **settings)
    assert says in str(refusal)
    assert next(iter(settings)) in refusal.subject


@pytest.mark.parametrize("name", ["power_limit_watts", "power_clock_mhz"])
def test_in_a_container_nothing_is_set(name: str) -> None:
    refusal = refused(INSIDE, **{name: {RTX4090: 300}})
    assert "container" in refusal.observed and name in refusal.subject


@pytest.mark.parametrize("name", ["power_limit_watts", "power_clock_mhz"])
def test_what_a_driver_would_forget_is_refused(name: str) -> None:
    refusal = refused(PAIR, power_persistence=False, **{name: {RTX4090: 300}})
    assert "power_persistence" in str(refusal)
    planned(host(OS, [W7900]), power_persistence=False, power_limit_watts={W7900: 241})
