"""The script of gpu-power.service, run by this machine's sh: nvidia-smi is a stand-in, sysfs a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpuwright.plan.gpu_model import CardSetting
from gpuwright.plan.model import ManagedFile
from gpuwright.plan.power import PowerScript
from gpuwright.render import render

ONE, OTHER, AMD = "0000:41:00.0", "0000:42:00.0", "0000:03:00.0"
RTX4090 = {
    "limit": 450, "min": 150, "max": 600, "default": 450,
    "clock": 210, "clock_min": 210, "clock_max": 3105, "persistence": "Enabled", "busy": 0,
}  # fmt: skip
W7900 = {"power1_cap": 241, "power1_cap_min": 0, "power1_cap_max": 277, "power1_cap_default": 241}


@dataclass(frozen=True)
class Machine:
    """Cards below `root`, and the script with them in the place of the real ones."""

    root: Path

    def nvidia(self, address: str, **values: object) -> None:
        folder = self.root / "smi" / address
        folder.mkdir(parents=True)
        (self.root / "sys/bus/pci/devices" / address).mkdir(parents=True)
        for name, value in {**RTX4090, **values}.items():
            if value is not None:
                (folder / name).write_text(f"{value}\n")

    def amd(self, address: str, **values: int | None) -> None:
        folder = self.root / "sys/bus/pci/devices" / address / "hwmon" / "hwmon4"
        folder.mkdir(parents=True)
        for name, value in {**W7900, **values}.items():
            if value is not None:
                (folder / name).write_text(f"{value * 1_000_000}\n")

    def run(
        self, *cards: CardSetting, words: Sequence[str] = (), wait_s: int = 0
    ) -> subprocess.CompletedProcess[str]:
        context = PowerScript(cards, f"{self.root}/sys", f"{self.root}/dev", f"{self.root}/state", wait_s)
        script = self.root / "gpu-power"
        script.write_text(render(ManagedFile(str(script), "power/gpu-power.sh.j2", context)))
        return subprocess.run(
            ["sh", str(script), *words],
            env={"PATH": f"{self.root}/bin:{os.environ['PATH']}", "NVIDIA_SMI_HOME": f"{self.root}/smi"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def value(self, address: str, name: str) -> str | None:
        """Of an NVIDIA card."""
        path = self.root / "smi" / address / name
        return path.read_text().strip() if path.exists() else None

    def cap(self, address: str = AMD) -> int:
        """Of an AMD card, in watts."""
        path = self.root / "sys/bus/pci/devices" / address / "hwmon/hwmon4/power1_cap"
        return int(path.read_text()) // 1_000_000

    @property
    def changes(self) -> list[str]:
        """What nvidia-smi was told to set since the last look."""
        path = self.root / "smi" / "asked"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [line for line in lines if "query" not in line]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    (tmp_path / "bin").mkdir()
    (tmp_path / "smi").mkdir()
    shutil.copy(Path(__file__).parents[1] / "nvidia_smi.sh", tmp_path / "bin" / "nvidia-smi")
    return Machine(tmp_path)


def limit(watts: int, address: str = ONE, vendor: str = "nvidia") -> CardSetting:
    return CardSetting(vendor, "limit", address, watts)


def clock(mhz: int, address: str = ONE) -> CardSetting:
    return CardSetting("nvidia", "clock", address, mhz)


def persistence(address: str = ONE) -> CardSetting:
    return CardSetting("nvidia", "persistence", address, 1)


def test_each_card_gets_what_is_declared_for_it(machine: Machine) -> None:
    machine.nvidia(ONE, persistence="Disabled")
    machine.nvidia(OTHER)
    machine.amd(AMD)
    done = machine.run(persistence(), limit(300), limit(250, OTHER), limit(200, AMD, "amd"), clock(2200))
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.value(ONE, "persistence") == "Enabled"
    assert (machine.value(ONE, "limit"), machine.value(OTHER, "limit"), machine.cap()) == ("300", "250", 200)
    assert (machine.value(ONE, "lock"), machine.value(OTHER, "lock")) == ("0,2200", None)


def test_the_second_time_sets_only_what_cannot_be_read_back(machine: Machine) -> None:
    machine.nvidia(ONE)
    machine.amd(AMD)
    declared = (limit(300), limit(200, AMD, "amd"), clock(2200))
    assert machine.run(*declared).returncode == 0
    assert machine.changes == [f"-i {ONE} -pl 300", f"-i {ONE} -lgc 0,2200"]
    assert machine.run(*declared).returncode == 0
    assert machine.changes == [f"-i {ONE} -lgc 0,2200"]


def test_what_somebody_changed_is_set_again(machine: Machine) -> None:
    machine.nvidia(ONE)
    machine.amd(AMD)
    declared = (persistence(), limit(300), limit(200, AMD, "amd"))
    assert machine.run(*declared).returncode == 0
    (machine.root / "smi" / ONE / "limit").write_text("450\n")
    (machine.root / "smi" / ONE / "persistence").write_text("Disabled\n")
    (machine.root / "sys/bus/pci/devices" / AMD / "hwmon/hwmon4/power1_cap").write_text("241000000\n")
    assert machine.run(*declared).returncode == 0
    assert (machine.value(ONE, "limit"), machine.value(ONE, "persistence"), machine.cap()) == (
        "300", "Enabled", 200,
    )  # fmt: skip


def test_what_is_no_longer_declared_goes_back_to_the_cards_default(machine: Machine) -> None:
    machine.nvidia(ONE, persistence="Disabled")
    machine.nvidia(OTHER, limit=400)  # somebody's own: it was never declared, so it stays
    machine.amd(AMD)
    assert machine.run(persistence(), limit(300), limit(200, AMD, "amd"), clock(2200)).returncode == 0
    assert machine.run(persistence(), clock(2000)).returncode == 0
    assert (machine.value(ONE, "limit"), machine.value(ONE, "lock"), machine.cap()) == ("450", "0,2000", 241)
    assert machine.run().returncode == 0
    assert (machine.value(ONE, "lock"), machine.value(ONE, "persistence")) == (None, "Disabled")
    assert machine.value(OTHER, "limit") == "400"
    machine.changes  # noqa: B018  (forget them)
    assert machine.run().returncode == 0
    assert machine.changes == []


def test_reset_puts_back_all_of_it(machine: Machine) -> None:
    machine.nvidia(ONE)
    declared = (limit(300), clock(2200))
    assert machine.run(*declared).returncode == 0
    assert machine.run(*declared, words=["reset"]).returncode == 0
    assert (machine.value(ONE, "limit"), machine.value(ONE, "lock")) == ("450", None)
    assert machine.run(*declared, words=["restore"]).returncode == 64


@pytest.mark.parametrize(
    ("wanted", "card", "says"),
    [
        (limit(100), {}, "100 W is wanted; the card takes 150.00 to 600.00 W"),
        (limit(601), {}, "601 W is wanted; the card takes 150.00 to 600.00 W"),
        (limit(300), {"min": None, "max": None, "limit": None, "default": None}, "names no limits"),
        (clock(3200), {}, "at most 3200 MHz is wanted; the card takes 210 to 3105 MHz"),
        (clock(20), {}, "at most 20 MHz is wanted; the card takes 210 to 3105 MHz"),
        (clock(2000), {"clock_max": None}, "names no highest clock"),
        (limit(300), {"stuck": 1}, "300 W was asked for, and its limit is 450.00 W"),
    ],
)
def test_what_a_card_does_not_take_is_one_line_and_stops_no_other(
    machine: Machine, wanted: CardSetting, card: dict[str, object], says: str
) -> None:
    machine.nvidia(ONE, **card)
    machine.nvidia(OTHER)
    done = machine.run(wanted, limit(250, OTHER))
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert line.startswith(f"gpu {ONE}: ") and says in line
    assert machine.value(OTHER, "limit") == "250"
    assert (machine.value(ONE, "limit"), machine.value(ONE, "lock")) in (("450", None), (None, None))


@pytest.mark.parametrize(
    ("watts", "card", "says"),
    [
        (300, {}, "300 W is wanted; the card takes 0 to 277 W"),
        (100, {"power1_cap_min": 167}, "100 W is wanted; the card takes 167 to 277 W"),
        (200, {"power1_cap_max": None}, "names no limits"),
    ],
)
def test_an_amd_card_likewise(machine: Machine, watts: int, card: dict[str, int | None], says: str) -> None:
    machine.amd(AMD, **card)
    done = machine.run(limit(watts, AMD, "amd"))
    (line,) = done.stderr.splitlines()
    assert (done.returncode, machine.cap()) == (1, 241)
    assert line.startswith(f"gpu {AMD}: ") and says in line


def test_a_card_that_its_driver_does_not_know_is_named(machine: Machine) -> None:
    machine.nvidia(ONE)
    done = machine.run(limit(300, OTHER), limit(300, AMD, "amd"), limit(300))
    assert done.returncode == 1
    assert [line.split(": ")[0] for line in done.stderr.splitlines()] == [f"gpu {OTHER}", f"gpu {AMD}"]
    assert machine.value(ONE, "limit") == "300"


def test_a_driver_that_is_not_loaded_is_said_for_each_card(machine: Machine) -> None:
    machine.nvidia(ONE)
    (machine.root / "smi" / "broken").touch()
    done = machine.run(limit(300), clock(2200))
    assert done.returncode == 1
    assert [line.split(" is ")[0] for line in done.stderr.splitlines()] == [
        f"gpu {ONE}: limit 300",
        f"gpu {ONE}: clock 2200",
    ]


def test_a_card_that_left_the_bus_has_nothing_to_put_back(machine: Machine) -> None:
    machine.nvidia(ONE)
    assert machine.run(limit(300)).returncode == 0
    shutil.rmtree(machine.root / "smi" / ONE)
    shutil.rmtree(machine.root / "sys/bus/pci/devices" / ONE)
    assert machine.run().returncode == 0
    assert not (machine.root / "state").exists()


def test_what_could_not_be_put_back_is_tried_again(machine: Machine) -> None:
    machine.nvidia(ONE)
    assert machine.run(limit(300)).returncode == 0
    (machine.root / "smi" / ONE / "stuck").touch()
    assert machine.run().returncode == 1
    (machine.root / "smi" / ONE / "stuck").unlink()
    assert machine.run().returncode == 0
    assert machine.value(ONE, "limit") == "450"


def test_a_sleeping_amd_card_is_woken_by_its_node(machine: Machine) -> None:
    """Linux 6.15: a card that sleeps tells nothing; opening its node wakes it."""
    machine.amd(AMD)
    function = machine.root / "sys/bus/pci/devices" / AMD
    (function / "drm" / "renderD128").mkdir(parents=True)
    asleep = function / "hwmon" / "asleep"
    (function / "hwmon" / "hwmon4").rename(asleep)
    node = machine.root / "dev" / "dri" / "renderD128"
    node.parent.mkdir(parents=True)
    os.mkfifo(node)
    wakes = f": >{node}; mv {asleep} {asleep.parent}/hwmon4; while :; do : >{node}; done"
    with subprocess.Popen(["sh", "-c", wakes]) as kernel:
        try:
            done = machine.run(limit(200, AMD, "amd"), wait_s=30)
        finally:
            kernel.kill()
    assert (done.returncode, machine.cap()) == (0, 200)
