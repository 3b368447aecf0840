"""GPUs in containers, on a host whose driver and toolkit are stubs: packages, units, a CDI specification that is true.

What apt, systemd and Docker do is real. The GPU is a stand-in (gpu_stand_in.py), the toolkit a stub (stub_toolkit.py):
nothing here says that a container gets a GPU.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from gpuwright.catalog import load
from tests.sandbox.driver_hosts import DRIVER, TOOLKIT, DriverHosts
from tests.sandbox.stub_driver import Release
from tests.sandbox.test_deploy import executed_changes

HOST = "sbx1"
NEWER = Release("580.178.04-1")
(ROW,) = (row for row in load().runtimes if row.name == "nvidia-container-toolkit")
SPEC, COPY, UNIT = "/var/run/cdi/nvidia.yaml", "/etc/cdi/nvidia.yaml", "nvidia-cdi-refresh.service"
BY_HAND = """\
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
  - name: mine
    containerEdits:
      deviceNodes:
        - path: /dev/nvidia0
"""


def spec(drivers: DriverHosts) -> str:
    return drivers.ask(HOST, f"cat {SPEC}")


def versions(drivers: DriverHosts) -> dict[str, tuple[str, str]]:
    """Version and wanted state of the toolkit's packages."""
    shown = "dpkg-query --show --showformat '${Package} ${Version} ${db:Status-Want} ${db:Status-Status}\\n'"
    ask = f"{shown} {' '.join(ROW.packages)} 2>/dev/null; true"
    rows = (line.split() for line in drivers.ask(HOST, ask).splitlines())
    return {name: (version, want) for name, version, want, state in rows if state == "installed"}


def deployed(drivers: DriverHosts, *words: str) -> str:
    run = drivers.deploy(*words)
    assert run.returncode == 0, run.stdout
    return run.stdout


def refused(drivers: DriverHosts, words: str, *options: str) -> str:
    """A run fails with `words` (a regex) and leaves the host as it was."""
    before = drivers.fingerprint(HOST)
    run = drivers.deploy(*options)
    assert run.returncode == 1, run.stdout
    said = " ".join(run.stdout.split())
    assert re.search(words, said), run.stdout
    assert "Traceback" not in said
    assert drivers.fingerprint(HOST) == before
    return said


def verdicts(drivers: DriverHosts) -> dict[str, list[dict[str, str]]]:
    """What `gpuwright verify` says of GPUs in containers, by check."""
    run = drivers.run("gpuwright", "verify", str(drivers.inventory), "--fast", "--json")
    (host,) = json.loads(run.stdout[run.stdout.index("{") :])["hosts"]
    found: dict[str, list[dict[str, str]]] = {}
    for verdict in host["verdicts"]:
        if verdict["check"].startswith("runtime."):
            found.setdefault(verdict["check"], []).append(verdict)
    return found


def failing(drivers: DriverHosts) -> dict[str, str]:
    """What is observed by each check that fails."""
    found = (each for check in verdicts(drivers).values() for each in check)
    return {each["check"]: each["observed"] for each in found if each["status"] == "fail"}


@pytest.fixture
def tidy(drivers: DriverHosts) -> Iterator[DriverHosts]:
    """The toolkit's repository, the lock and /etc/cdi are as they were."""
    lock = drivers.lock(HOST)
    first = lock.read_text()
    yield drivers
    lock.write_text(first)
    drivers.toolkit.publish([TOOLKIT])
    drivers.ask(HOST, "rm -rf /etc/cdi; apt-get -q update >/dev/null")
    deployed(drivers)


def test_the_toolkit_is_installed_at_one_version_held_and_locked(drivers: DriverHosts) -> None:
    assert versions(drivers) == dict.fromkeys(ROW.packages, (TOOLKIT, "hold"))
    locked = json.loads(drivers.lock(HOST).read_text())["sets"][ROW.name]
    assert locked == {"for": list(ROW.packages), "versions": dict.fromkeys(sorted(ROW.packages), TOOLKIT)}


def test_the_specification_is_of_the_driver_and_has_every_card(drivers: DriverHosts) -> None:
    text = spec(drivers)
    assert f"libcuda.so.{DRIVER.upstream}" in text
    uuids = drivers.ask(
        HOST, "cat /proc/driver/nvidia/gpus/*/information | sed -n 's/^GPU UUID:[[:space:]]*//p'"
    )
    assert uuids and all(f"name: {uuid}\n" in text for uuid in uuids.split())
    assert "path: /dev/nvidia-uvm\n" in text


def test_docker_itself_reads_it(drivers: DriverHosts) -> None:
    directories = json.loads(drivers.ask(HOST, "docker info --format '{{json .CDISpecDirs}}'"))
    assert "/var/run/cdi" in directories


def test_it_comes_back_at_boot_by_a_unit_that_systemd_finds_no_fault_with(drivers: DriverHosts) -> None:
    for unit in (UNIT, "nvidia-cdi-refresh.path"):
        assert drivers.ask(HOST, f"systemctl is-enabled {unit}") == "enabled"
    assert drivers.ask(HOST, "systemctl is-active nvidia-cdi-refresh.path") == "active"
    assert drivers.ask(HOST, f"systemd-analyze verify {UNIT} 2>&1; echo $?").splitlines()[-1] == "0"
    # As at boot: nothing below /run, and no nodes yet.
    drivers.stand_in(HOST).no_node("/dev/nvidia-uvm")
    drivers.ask(HOST, f"rm -rf /var/run/cdi; systemctl start {UNIT}")
    assert "path: /dev/nvidia-uvm\n" in spec(drivers)


def test_verify_passes_and_a_second_run_changes_nothing(drivers: DriverHosts) -> None:
    deployed(drivers)
    before = drivers.ask(HOST, f"stat -c '%y %i' {SPEC}"), drivers.fingerprint(HOST)
    assert executed_changes(deployed(drivers)) == set()
    assert (drivers.ask(HOST, f"stat -c '%y %i' {SPEC}"), drivers.fingerprint(HOST)) == before
    found = verdicts(drivers)
    statuses = {check: {each["status"] for each in all_of_it} for check, all_of_it in found.items()}
    skipped = {"runtime.nodes", "runtime.podman"}
    assert statuses == {check: {"skip" if check in skipped else "pass"} for check in statuses}, found


def test_an_upgrade_of_the_driver_makes_it_anew_in_the_same_run(tidy: DriverHosts) -> None:
    drivers, lock = tidy, tidy.lock(HOST)
    first = lock.read_text()
    drivers.publish([DRIVER, NEWER])
    try:
        lock.write_text(first.replace(DRIVER.version, NEWER.version))
        deployed(drivers)
        assert f"--host-driver-version={NEWER.upstream}" in spec(drivers)
        assert DRIVER.upstream not in spec(drivers)
        assert failing(drivers) == {}
    finally:
        lock.write_text(first)
        deployed(drivers)
        drivers.publish([DRIVER])
    assert f"--host-driver-version={DRIVER.upstream}" in spec(drivers)


# What may happen to it behind our back, and what verify says then.
CHANGES = {
    "of another driver": (
        f"sed -i 's/{DRIVER.upstream}/550.163.01/' {SPEC}",
        "it is of driver 550.163.01, and",
    ),
    "cut off": (f"head -c 300 {SPEC} >{SPEC}.cut && mv {SPEC}.cut {SPEC}", "its last line was cut off"),
    "gone": (f"rm {SPEC}", "it is not there"),
    "another card": (f"sed -i 's/name: GPU-.*/name: GPU-other/' {SPEC}", "it lacks GPU 0000:41:00.0"),
    "without unified memory": (f"sed -i '/nvidia-uvm$/d' {SPEC}", "it does not give /dev/nvidia-uvm"),
    "of an older tool": (f"touch -d '2020-01-01' {SPEC}", "it is older than /usr/bin/nvidia-ctk"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_one_that_is_no_longer_true_is_found_and_made_anew(drivers: DriverHosts, change: str) -> None:
    command, says = CHANGES[change]
    drivers.ask(HOST, command)
    assert says in failing(drivers)["runtime.cdi"]
    drift = drivers.run("gpuwright", "drift", str(drivers.inventory))
    assert drift.returncode == 2, drift.stdout
    assert "CDI specifications" in drift.stdout
    assert executed_changes(deployed(drivers)) == {"GPU runtime | CDI specifications"}
    assert failing(drivers) == {}


def test_a_unit_that_somebody_masked_is_found_and_enabled(drivers: DriverHosts) -> None:
    drivers.ask(HOST, f"systemctl disable --quiet {UNIT}; systemctl mask --quiet {UNIT}")
    assert failing(drivers) == {"runtime.cdi-at-boot": "masked"}
    deployed(drivers)
    assert drivers.ask(HOST, f"systemctl is-enabled {UNIT}") == "enabled"


def test_a_stale_copy_is_removed(tidy: DriverHosts) -> None:
    tidy.ask(HOST, f"mkdir -p /etc/cdi; sed 's/{DRIVER.upstream}/550.163.01/' {SPEC} >{COPY}")
    assert "550.163.01" in failing(tidy)["runtime.cdi-beside"]
    assert executed_changes(deployed(tidy)) == {"GPU runtime | Stale copies"}
    assert tidy.ask(HOST, f"ls {COPY} 2>&1; true").endswith("No such file or directory")
    assert failing(tidy) == {}


def test_one_written_by_hand_stays_and_is_named(tidy: DriverHosts) -> None:
    tidy.ask(HOST, f"mkdir -p /etc/cdi; printf %s '{BY_HAND}' >{COPY}")
    assert executed_changes(deployed(tidy)) == set()
    assert tidy.ask(HOST, f"cat {COPY}") == BY_HAND.strip()
    (verdict,) = verdicts(tidy)["runtime.cdi-beside"]
    assert (verdict["subject"], verdict["status"]) == (COPY, "skip")
    assert verdict["observed"] == "was written by hand: left as it is"


def test_a_second_one_in_the_same_directory_is_refused(drivers: DriverHosts) -> None:
    other = "/var/run/cdi/other.yaml"
    drivers.ask(HOST, f"cp {SPEC} {other}")
    try:
        refused(drivers, rf"CDI specification {other}: it has nvidia.com/gpu=0 as well")
        assert drivers.ask(HOST, f"test -f {other} && echo there") == "there"
    finally:
        drivers.ask(HOST, f"rm {other}")
    deployed(drivers)


def test_a_way_that_does_not_fit_the_cards_is_refused(drivers: DriverHosts) -> None:
    words = r"setting gpu_runtime_method: .* without the driver's libraries, .* required: for nvidia: cdi"
    refused(drivers, words, "--data", "gpu_runtime_method=device-nodes")


def test_a_driver_that_waits_for_a_reboot_makes_the_step_pending(drivers: DriverHosts) -> None:
    """Another version is loaded than the one on the disk; the specification is of neither."""
    loaded = "/var/lib/gpu-stand-in/proc/driver/nvidia/version"
    drivers.ask(HOST, f"sed -i 's/{DRIVER.upstream}/580.105.08/' {loaded}")
    try:
        refused(
            drivers,
            f"pending: CDI specification {SPEC}: driver 580.105.08 is loaded, and {DRIVER.upstream} is",
        )
        assert "580.105.08 is loaded" in failing(drivers)["runtime.cdi"]
    finally:
        drivers.ask(HOST, f"sed -i 's/580.105.08/{DRIVER.upstream}/' {loaded}")
    deployed(drivers)


def test_a_refresh_that_makes_nothing_says_so(drivers: DriverHosts) -> None:
    where = "/etc/nvidia-container-toolkit/nvidia-cdi-refresh.env"
    drivers.ask(
        HOST,
        f"rm {SPEC}; mkdir -p {where.rpartition('/')[0]}; echo NVIDIA_CTK_CDI_OUTPUT_FILE_PATH=/tmp/elsewhere >{where}",
    )
    try:
        said = refused(
            drivers, rf"CDI specification {SPEC}: it is not there, although it was made anew just now"
        )
        assert "whose environment file may send it elsewhere" in said
    finally:
        drivers.ask(HOST, f"rm -f {where} /tmp/elsewhere")
    deployed(drivers)


def test_a_toolkit_that_is_too_old_is_refused_wherever_it_is(tidy: DriverHosts) -> None:
    drivers, lock, old = tidy, tidy.lock(HOST), "1.19.1-1"
    first = json.loads(lock.read_text())
    bare = {**first, "sets": {name: each for name, each in first["sets"].items() if name != ROW.name}}
    lock.write_text(json.dumps(bare))
    drivers.toolkit.publish([old])
    drivers.ask(
        HOST, f"apt-get -q update; apt-get -q purge -y --allow-change-held-packages {' '.join(ROW.packages)}"
    )
    offered = refused(
        drivers, rf"{ROW.name} {old}, .* offered; required: 1\.20\.0 or newer, all of one version"
    )
    assert "bring its mirror up to date" in offered
    assert versions(drivers) == {}
    drivers.ask(HOST, f"apt-get -q install -y {' '.join(ROW.packages)}")
    installed = refused(drivers, rf"{ROW.name} {old}, .* installed; required: 1\.20\.0 or newer")
    assert "gpuwright lock HOST --update" in installed
    drivers.toolkit.publish([old, TOOLKIT])
    chosen = drivers.run("gpuwright", "lock", HOST, "--update", "--inventory", str(drivers.inventory))
    assert chosen.returncode == 0, chosen.stdout
    deployed(drivers)
    assert versions(drivers) == dict.fromkeys(ROW.packages, (TOOLKIT, "hold"))


def test_one_from_elsewhere_that_fits_is_kept_held_and_locked(tidy: DriverHosts) -> None:
    drivers, lock, theirs = tidy, tidy.lock(HOST), "1.20.1-1"
    drivers.toolkit.publish([TOOLKIT, theirs])
    drivers.ask(
        HOST,
        "apt-get -q update; apt-get -q install -y --allow-change-held-packages "
        + " ".join(f"{name}={theirs}" for name in ROW.packages),
    )
    drivers.ask(HOST, f"apt-mark unhold {' '.join(ROW.packages)}")
    first = json.loads(lock.read_text())
    del first["sets"][ROW.name]
    lock.write_text(json.dumps(first))
    deployed(drivers)
    assert versions(drivers) == dict.fromkeys(ROW.packages, (theirs, "hold"))
    now = json.loads(lock.read_text())["sets"][ROW.name]["versions"]
    assert now == dict.fromkeys(sorted(ROW.packages), theirs)
