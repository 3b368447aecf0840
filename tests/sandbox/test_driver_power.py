"""Limits, clocks and NCCL's file through the real command line, on the host of test_drivers.py.

systemd, the script and every file are real; the card is a stand-in, and nvidia-smi a program whose cards are files
(tests/nvidia_smi.sh).
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.sandbox.driver_hosts import DriverHosts
from tests.sandbox.test_deploy import executed_changes

HOST = "sbx1"
ADDRESS = "0000:41:00.0"
CARD = {
    "limit": 400, "min": 150, "max": 400, "default": 400, "clock": 210, "clock_min": 210, "clock_max": 3105,
    "persistence": "Enabled", "busy": 0,
}  # fmt: skip
SMI = f"/var/lib/gpu-stand-in/smi/{ADDRESS}"
SCRIPT, UNIT = "/usr/local/lib/gpuwright/gpu-power", "/etc/systemd/system/gpu-power.service"
CONF = "/etc/nccl.conf"
DECLARED = {
    "power_limit_watts": {ADDRESS: 300},
    "power_clock_mhz": {ADDRESS: 2200},
    "interconnect_variables": {"NCCL_DEBUG": "WARN", "NCCL_SOCKET_IFNAME": "=eth0"},
}


class Power:
    """The host with what a test declares."""

    def __init__(self, drivers: DriverHosts) -> None:
        self.drivers = drivers
        self.plain = drivers.inventory.read_text()

    def declare(self, settings: dict[str, object]) -> None:
        self.drivers.inventory.write_text(
            f"{self.plain}\nfor _name, _data in sandbox:\n    _data |= {settings!r}\n"
        )

    def deploy(self, code: int = 0) -> str:
        run = self.drivers.deploy()
        assert run.returncode == code, run.stdout
        return run.stdout

    def ask(self, shell: str) -> str:
        return self.drivers.ask(HOST, shell)

    def value(self, name: str) -> str:
        """What the card shows, "" for nothing."""
        return self.ask(f"if [ -e {SMI}/{name} ]; then cat {SMI}/{name}; fi")

    def told(self) -> list[str]:
        """What nvidia-smi was told to set since the last look."""
        lines = self.ask(f"cat {SMI}/../asked; : >{SMI}/../asked").splitlines()
        return [line for line in lines if "query" not in line]

    def fingerprint(self) -> list[str]:
        """An overlay counts the links of a directory otherwise once something in it was made and removed."""
        lines = self.drivers.fingerprint(HOST)
        return [line for line in lines if not line.startswith("file /usr/local/lib d ")]


@pytest.fixture(scope="module")
def bare(drivers: DriverHosts) -> Iterator[Power]:
    """The host with a card that nvidia-smi knows; nothing of it is declared."""
    power = Power(drivers)
    before = power.fingerprint()
    drivers.stand_in(HOST).smi(ADDRESS, **CARD)
    try:
        yield power
    finally:
        drivers.inventory.write_text(power.plain)
        back = drivers.deploy()
        drivers.stand_in(HOST).no_smi()
    assert back.returncode == 0, back.stdout
    assert power.fingerprint() == before


@pytest.fixture(scope="module")
def power(bare: Power) -> Power:
    """Limit, clock and variables are declared and deployed."""
    bare.declare(DECLARED)
    changed = executed_changes(bare.deploy())
    assert {"Power | Script and unit", "Power | Limits and clocks"} <= changed
    return bare


def test_a_limit_that_the_card_does_not_take_is_refused_before_anything_changes(bare: Power) -> None:
    bare.told()
    before = bare.fingerprint()
    bare.declare({"power_limit_watts": {ADDRESS: 430}, "power_clock_mhz": {ADDRESS: 3200}})
    said = " ".join(bare.deploy(code=1).split())
    assert "430 W is declared; required: 150 to 400 W" in said
    assert "at most 3200 MHz is declared; required: 1 to 3105 MHz" in said
    assert (bare.fingerprint(), bare.told(), bare.value("limit")) == (before, [], "400")


def test_a_driver_that_does_not_answer_is_a_step_that_is_pending(bare: Power) -> None:
    before = bare.fingerprint()
    bare.declare(DECLARED)
    bare.ask(f"touch {SMI}/../broken")
    try:
        said = " ".join(bare.deploy(code=1).split())
    finally:
        bare.ask(f"rm {SMI}/../broken")
    assert f"pending: power of gpu {ADDRESS}" in said
    assert [line for line in bare.fingerprint() if CONF not in line] == [
        line for line in before if CONF not in line
    ]


def test_the_card_gets_what_is_declared_by_a_unit_that_comes_back(power: Power) -> None:
    assert (power.value("limit"), power.value("lock")) == ("300", "0,2200")
    assert power.ask("systemctl is-active gpu-power; systemctl is-enabled gpu-power").split() == [
        "active",
        "enabled",
    ]
    power.ask(f"systemd-analyze verify {UNIT}")
    # As after a reboot: the card and /run have forgotten.
    power.ask(
        f"systemctl stop gpu-power; rm /run/gpu-power {SMI}/lock; echo 400 >{SMI}/limit; systemctl start gpu-power"
    )
    assert (power.value("limit"), power.value("lock")) == ("300", "0,2200")


def test_nccls_file_says_what_is_declared(power: Power) -> None:
    lines = power.ask(f"cat {CONF}").splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "NCCL_DEBUG=WARN",
        "NCCL_SOCKET_IFNAME==eth0",
    ]


def test_a_second_run_changes_nothing(power: Power) -> None:
    before = power.fingerprint()
    power.told()
    assert executed_changes(power.deploy()) == set()
    assert (power.fingerprint(), power.told()) == (before, [])


def test_verify_finds_the_cards_as_declared(power: Power) -> None:
    run = power.drivers.run("gpuwright", "verify", str(power.drivers.inventory), "--json")
    verdicts = json.loads(run.stdout)["hosts"][0]["verdicts"]
    found = {each["check"]: each["status"] for each in verdicts if each["subject"] in (ADDRESS, CONF)}
    assert (found["power.limits"], found["power.clocks"], found["collectives.in-force"]) == (
        "pass",
        "skip",
        "pass",
    )


def test_what_somebody_changes_by_hand_is_drift_and_is_set_again(power: Power) -> None:
    power.ask(f"echo 400 >{SMI}/limit; echo 3000 >{SMI}/clock; echo 'NCCL_X=1' >>{CONF}")
    drift = power.drivers.run("gpuwright", "drift", str(power.drivers.inventory))
    assert drift.returncode == 2, drift.stdout
    assert f"{ADDRESS}: 400 W -> 300 W" in drift.stdout
    assert f"{ADDRESS}: at 3000 MHz -> at most 2200 MHz" in drift.stdout
    power.told()
    changed = executed_changes(power.deploy())
    assert changed == {"Power | What the cards take", "Power | Limits and clocks", "Interconnect | Variables"}
    power.ask(f"echo 210 >{SMI}/clock")
    assert power.told() == [f"-i {ADDRESS} -pl 300", f"-i {ADDRESS} -lgc 0,2200"]
    assert "NCCL_X" not in power.ask(f"cat {CONF}")
    assert executed_changes(power.deploy()) == set()


def test_what_is_no_longer_declared_goes_back_and_the_rest_stays(power: Power) -> None:
    power.declare({**DECLARED, "power_clock_mhz": {}, "power_limit_watts": {ADDRESS: 250}})
    power.deploy()
    assert (power.value("limit"), power.value("lock")) == ("250", "")
    power.declare(DECLARED)
    power.deploy()
    assert (power.value("limit"), power.value("lock")) == ("300", "0,2200")


def test_with_nothing_declared_defaults_come_back_and_the_unit_goes(power: Power) -> None:
    power.declare({})
    changed = executed_changes(power.deploy())
    assert changed - {"Stamp"} == {
        "Power | No longer declared",
        "Interconnect | Variables no longer declared",
    }
    assert (power.value("limit"), power.value("lock")) == ("400", "")
    power.ask(
        f"! systemctl cat gpu-power 2>/dev/null && [ ! -e {SCRIPT} ] && [ ! -e {UNIT} ] && [ ! -e {CONF} ]"
    )
    assert executed_changes(power.deploy()) == set()


def test_a_configuration_that_somebody_else_wrote_is_not_lost(bare: Power) -> None:
    bare.declare({})
    theirs = "# of the lab\nCUDA_DEVICE_ORDER=PCI_BUS_ID\nNCCL_DEBUG=WARN\n"
    bare.ask(f"printf '{theirs}' >{CONF}")
    assert executed_changes(bare.deploy()) == set()  # nothing is planned: whatever it says is theirs
    bare.declare({"interconnect_variables": DECLARED["interconnect_variables"]})
    said = " ".join(bare.deploy(code=1).split())
    assert "it sets CUDA_DEVICE_ORDER=PCI_BUS_ID, as the plan does not" in said
    assert "interconnect_variables" in said
    assert bare.ask(f"cat {CONF}") == theirs.strip()
    bare.ask(f"sed -i /CUDA/d {CONF}")
    bare.deploy()
    assert bare.ask(f"head -n 1 {CONF}").startswith("# Managed by gpuwright")
    assert bare.ask(f"cat {CONF}.before-gpuwright") == "# of the lab\nNCCL_DEBUG=WARN"
    bare.ask(f"rm {CONF}.before-gpuwright")


def test_a_unit_that_somebody_else_wrote_is_not_replaced(bare: Power) -> None:
    bare.ask(f"printf '[Service]\\nExecStart=/bin/true\\n' >{UNIT}")
    try:
        bare.declare(DECLARED)
        assert f"{UNIT}: it is there, and gpuwright did not write it" in " ".join(bare.deploy(code=1).split())
        assert bare.ask(f"head -n 1 {UNIT}") == "[Service]"
        bare.declare({})
        bare.deploy()
        assert bare.ask(f"head -n 1 {UNIT}") == "[Service]"
    finally:
        bare.ask(f"rm {UNIT}; systemctl daemon-reload")
