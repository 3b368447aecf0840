"""What verify and the operations conclude from GPUs' own words about power, and from what root has set for NCCL."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gpuwright import catalog
from gpuwright.operations.card_power import CardPower, differences, parse
from gpuwright.operations.power import CardsPower, _refusals
from gpuwright.plan import HostPlan, plan_host
from gpuwright.plan.gpu_model import CardSetting
from gpuwright.settings import read_settings
from gpuwright.status_probe import parse_sections
from gpuwright.verify import host as _registered  # noqa: F401  (importing it registers the checks)
from gpuwright.verify.check import CHECKS
from gpuwright.verify.readings import Readings
from gpuwright.verify.scripts import state_script
from gpuwright.verify.verdict import Verdict
from tests.synthetic import host

NVIDIA, AMD = "GeForce RTX 4090", "Radeon PRO W7900"
FACTS = host("ubuntu 24.04", [NVIDIA, NVIDIA, AMD])
ONE, OTHER, RADEON = (gpu.address for gpu in FACTS.gpus)
OURS = {
    "power_limit_watts": {NVIDIA: 300, AMD: 200},
    "power_clock_mhz": {ONE: 2200},
}
# Values of an H200's nvidia-smi, in the form of its CSV; a card without a field says [N/A].
GOOD = (
    f"0000{ONE.upper()}, 300.00, 150.00, 600.00, 2190, 3105, Enabled, 96\n"
    f"0000{OTHER.upper()}, 300.00, 150.00, 600.00, 210, 3105, Enabled, 0\n"
    f"{RADEON}, 200, 0, 277, , , , \n"
)


def planned(**settings: object) -> HostPlan:
    plan = plan_host(FACTS, read_settings(settings), catalog.load())
    assert isinstance(plan, HostPlan), plan
    return plan


PLAN = planned(**OURS)
GONE = planned()


def judge(check: str, plan: HostPlan = PLAN, **sections: str) -> dict[str, Verdict]:
    return {verdict.subject: verdict for verdict in CHECKS[check].judge(Readings(FACTS, sections), plan)}


def test_limits_as_they_are_declared() -> None:
    verdicts = judge("power.limits", card_power=GOOD)
    assert {subject: each.status for subject, each in verdicts.items()} == dict.fromkeys(
        (ONE, OTHER, RADEON), "pass"
    )


@pytest.mark.parametrize(
    ("before", "after", "status", "observed"),
    [
        (" 300.00, 150.00", " 450.00, 150.00", "fail", "450 W"),
        (" 300.00, 150.00", " 299.50, 150.00", "fail", "299.5 W"),
        (" 300.00, 150.00", " [N/A], [N/A]", "unknown", ""),
        (f"0000{ONE.upper()}", "0000:99:00.0", "unknown", ""),
        (GOOD, "", "unknown", ""),
        (GOOD, "NVIDIA-SMI has failed because it couldn't communicate with the driver, or so", "unknown", ""),
    ],
)
def test_another_limit_fails_and_silence_is_unknown(
    before: str, after: str, status: str, observed: str
) -> None:
    verdict = judge("power.limits", card_power=GOOD.replace(before, after, 1))[ONE]
    assert verdict.status == status
    assert not observed or verdict.observed == observed


def test_a_reading_that_is_not_there_is_unknown() -> None:
    for check in ("power.limits", "power.clocks", "collectives.in-force"):
        assert {verdict.status for verdict in judge(check).values()} == {"unknown"}


@pytest.mark.parametrize(
    ("clock", "load", "status"),
    [
        ("2190", "96", "pass"),
        ("2205", "96", "fail"),
        ("2205", "0", "fail"),
        ("210", "0", "skip"),
        ("[N/A]", "0", "unknown"),
    ],
)
def test_a_lock_shows_by_a_clock_above_it_or_under_load(clock: str, load: str, status: str) -> None:
    reading = GOOD.replace("2190, 3105, Enabled, 96", f"{clock}, 3105, Enabled, {load}")
    assert judge("power.clocks", card_power=reading)[ONE].status == status


@pytest.mark.parametrize(
    ("owners", "power", "conf"),
    [
        ("", "pass", "pass"),
        ("/etc/systemd/system/gpu-power.service\tours", "fail", "pass"),
        ("/usr/local/lib/gpuwright/gpu-power\tours", "fail", "pass"),
        ("/etc/systemd/system/gpu-power.service\tothers", "pass", "pass"),
        ("/etc/rccl.conf\tours", "pass", "fail"),
        ("/etc/rccl.conf\tothers", "pass", "pass"),
        ("cut of", "unknown", "unknown"),
    ],
)
def test_what_nobody_declares_any_more_is_gone(owners: str, power: str, conf: str) -> None:
    (unit,) = judge("power.dropped", GONE, owners_of_settings=owners).values()
    assert unit.status == power
    assert judge("collectives.dropped", GONE, owners_of_settings=owners)["/etc/rccl.conf"].status == conf


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ("", "pass"),
        ("/root/.nccl.conf\tNCCL_P2P_DISABLE=1", "pass"),
        ('/etc/environment\tNCCL_P2P_DISABLE="1"', "pass"),
        ("/root/.nccl.conf\tNCCL_DEBUG=INFO", "pass"),
        ("/root/.rccl.conf\tNCCL_P2P_DISABLE=0", "pass"),
        ("/root/.nccl.conf\tNCCL_P2P_DISABLE=0", "fail"),
        ("systemd's environment\tNCCL_SOCKET_IFNAME=eth9", "fail"),
        ("/etc/environment\tNCCL_CONF_FILE=/opt/x.conf", "fail"),
        ("cut off", "unknown"),
    ],
)
def test_what_root_sets_itself_holds_over_the_file(rows: str, status: str) -> None:
    (verdict,) = judge("collectives.in-force", collectives_overrides=rows).values()
    assert verdict.status == status
    if status == "fail":
        assert all(part in verdict.observed for part in rows.split("\t"))


@pytest.fixture
def run(tmp_path: Path) -> Callable[[str], str]:
    """A script by this machine's sh, with the cards' folders of tests/nvidia_smi.sh, and a sysfs of its own."""
    (tmp_path / "bin").mkdir()
    shutil.copy(Path(__file__).parents[1] / "nvidia_smi.sh", tmp_path / "bin" / "nvidia-smi")
    for name in ("docker", "systemctl", "getent"):  # what this machine has of them must not answer
        (tmp_path / "bin" / name).write_text(
            f"#!/bin/sh\ncase {name} in getent) echo root:x:0:0:root:{tmp_path}/root:/bin/sh ;;\n"
            "systemctl) echo NCCL_DEBUG=INFO ;; *) exit 1 ;; esac\n"
        )
        (tmp_path / "bin" / name).chmod(0o755)
    card = {
        "limit": 300,
        "min": 150,
        "max": 600,
        "default": 450,
        "clock": 2190,
        "clock_max": 3105,
        "busy": 96,
    }
    for address in (ONE, OTHER):
        folder = tmp_path / "smi" / address
        folder.mkdir(parents=True)
        for name, value in {**card, "persistence": "Enabled"}.items():
            (folder / name).write_text(f"{value}\n")
    hwmon = tmp_path / "sys/bus/pci/devices" / RADEON / "hwmon" / "hwmon3"
    hwmon.mkdir(parents=True)
    for name, value in (("power1_cap", 200), ("power1_cap_min", 0), ("power1_cap_max", 277)):
        (hwmon / name).write_text(f"{value * 1_000_000}\n")

    def script(text: str) -> str:
        done = subprocess.run(
            [
                "sh",
                "-c",
                text.replace("/sys/bus/pci/devices/$address", f"{tmp_path}/sys/bus/pci/devices/$address"),
            ],
            env={"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "NVIDIA_SMI_HOME": f"{tmp_path}/smi"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout

    return script


def test_cards_are_read_as_their_drivers_show_them(run: Callable[[str], str], tmp_path: Path) -> None:
    asked = CardsPower().command(vendors=("nvidia", "amd"), amd=(RADEON,)).get_raw_value()
    card = CardPower(300, 150, 600, 2190, 3105, "Enabled", 96)
    radeon = CardPower(200, 0, 277, None, None, "", None)
    assert CardsPower().process(run(asked).splitlines()) == {ONE: card, OTHER: card, RADEON: radeon}
    (tmp_path / "smi" / "broken").touch()
    assert CardsPower().process(run(asked).splitlines()) == {RADEON: radeon}


def test_verify_reads_the_same(run: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / ".nccl.conf").write_text(
        "#x\nexport NCCL_P2P_DISABLE=0\nNCCL_P2P_LEVEL=SYS\nPATH=/x\n"
    )
    sections = parse_sections(run(state_script(PLAN, [])))
    readings = Readings(FACTS, sections)
    assert {each.status for each in CHECKS["power.limits"].judge(readings, PLAN)} == {"pass"}
    assert {each.status for each in CHECKS["power.clocks"].judge(readings, PLAN)} == {"pass"}
    (verdict,) = CHECKS["collectives.in-force"].judge(readings, PLAN)
    assert verdict.observed == f"NCCL_P2P_DISABLE=0 in {tmp_path}/root/.nccl.conf"
    assert sections["collectives_overrides"].count("\n") >= 2
    assert "systemd's environment\tNCCL_DEBUG=INFO" in sections["collectives_overrides"]


def test_nvidia_smi_is_asked_only_where_something_is_set() -> None:
    assert "card_power'" not in state_script(GONE, [])
    assert "owners_of_settings collectives_overrides card_power" in state_script(PLAN, [])


CARDS = (
    CardSetting("nvidia", "persistence", ONE, 1),
    CardSetting("nvidia", "limit", ONE, 300),
    CardSetting("nvidia", "clock", ONE, 2200),
    CardSetting("amd", "limit", RADEON, 200),
)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("", "", []),
        (" 300.00, 150", " 450.00, 150", [f"{ONE}: 450 W -> 300 W"]),
        ("2190, ", "2500, ", [f"{ONE}: at 2500 MHz -> at most 2200 MHz"]),
        ("Enabled", "Disabled", [f"{ONE}: persistence mode Disabled -> Enabled"]),
        (f"{RADEON}, 200", f"{RADEON}, 241", [f"{RADEON}: 241 W -> 200 W"]),
    ],
)
def test_what_somebody_changed_by_hand_is_seen(before: str, after: str, says: list[str]) -> None:
    found = parse(GOOD.replace(before, after, 1).splitlines())
    assert list(differences(CARDS, found)) == says
    assert list(_refusals(CARDS, found)) == []


@pytest.mark.parametrize(
    ("card", "before", "after", "says"),
    [
        (CARDS[1], "150.00, 600.00", "310.00, 600.00", "310 to 600 W"),
        (CARDS[1], "150.00, 600.00", "150.00, 290.00", "150 to 290 W"),
        (CARDS[1], "150.00, 600.00", "[N/A], [N/A]", "this one does not"),
        (CARDS[2], "2190, 3105", "2190, 2100", "1 to 2100 MHz"),
        (CARDS[2], "2190, 3105", "[N/A], [N/A]", "this one does not"),
        (CARDS[3], "0, 277", "0, 190", "0 to 190 W"),
        (CARDS[3], f"{RADEON}, ", "0000:99:00.0, ", "pending: power of gpu"),
        (CARDS[0], GOOD, "No devices were found", "pending: power of gpu"),
    ],
)
def test_what_a_card_does_not_take_is_refused_before_it_is_set(
    card: CardSetting, before: str, after: str, says: str
) -> None:
    (refusal,) = _refusals((card,), parse(GOOD.replace(before, after, 1).splitlines()))
    assert card.address in refusal.subject
    assert says in str(refusal) and refusal.remedy
