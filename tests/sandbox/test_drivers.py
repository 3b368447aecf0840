"""Kernel and driver through the real command line: what apt, dkms and dpkg do is real, the GPU and the driver are not.

The GPU is a stand-in (gpu_stand_in.py), NVIDIA's repository a stub (stub_driver.py); the last test takes Debian's own
driver, and 5 to 20 minutes for its modules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.sandbox.conftest import driver_host
from tests.sandbox.driver_hosts import DRIVER, DriverHosts
from tests.sandbox.stub_driver import BESIDE, Release
from tests.sandbox.test_deploy import executed_changes

HOST = "sbx1"
NEWER = Release("580.178.04-1")
DRIVERS_OWN = (
    "nvidia-driver-cuda",
    "nvidia-kernel-open-dkms",
    "nvidia-driver-pinning-580",
    "libcuda1",
    "libnvidia-ml1",
)
VERSIONS = r"dpkg-query --show --showformat '${Package} ${Version} ${db:Status-Want} ${db:Status-Status}\n'"


def packages(drivers: DriverHosts) -> dict[str, tuple[str, str]]:
    """Version and wanted state of all that is whole."""
    lines = (line.split() for line in drivers.ask(HOST, VERSIONS).splitlines())
    return {name: (version, want) for name, version, want, state in lines if state == "installed"}


def module(drivers: DriverHosts, field: str) -> str:
    kernel = drivers.newest_kernel(HOST)
    return drivers.ask(HOST, f"/sbin/modinfo -k '{kernel}' -F {field} nvidia")


@pytest.fixture
def two_versions(drivers: DriverHosts) -> Iterator[DriverHosts]:
    """NVIDIA's repository has a newer driver of the branch, and a newer version of a package that is no driver's."""
    drivers.publish([DRIVER, NEWER], beside="2")
    yield drivers
    drivers.publish([DRIVER])


def test_the_module_is_built_signed_and_ready_for_the_kernel(drivers: DriverHosts) -> None:
    kernel = drivers.newest_kernel(HOST)
    assert drivers.ask(HOST, "dkms status") == f"nvidia/{DRIVER.upstream}, {kernel}, x86_64: installed"
    assert module(drivers, "version") == DRIVER.upstream
    assert module(drivers, "vermagic").split()[0] == kernel
    assert module(drivers, "signer") == "DKMS module signing key"
    assert drivers.ask(HOST, "cat /sys/module/nvidia/version") == DRIVER.upstream
    assert drivers.ask(HOST, "systemctl is-active nvidia-persistenced") == "active"


def test_the_whole_set_is_held_and_in_the_lock(drivers: DriverHosts) -> None:
    there = packages(drivers)
    held = {name for name, (_, want) in there.items() if want == "hold"}
    assert held.issuperset(DRIVERS_OWN)
    assert held.issuperset({"linux-image-amd64", "linux-headers-amd64"})
    lock = json.loads(drivers.lock(HOST).read_text())
    locked = {name: version for each in lock["sets"].values() for name, version in each["versions"].items()}
    assert set(locked) == held
    assert locked == {name: there[name][0] for name in locked}


def test_a_second_run_changes_nothing(drivers: DriverHosts) -> None:
    before, lock = drivers.fingerprint(HOST), drivers.lock(HOST).read_bytes()
    again = drivers.deploy()
    assert again.returncode == 0, again.stdout
    assert executed_changes(again.stdout) == set()
    assert drivers.fingerprint(HOST) == before
    assert drivers.lock(HOST).read_bytes() == lock


def test_unattended_upgrades_leave_the_set_alone(drivers: DriverHosts) -> None:
    """They may take NVIDIA's repository, and do: what is no driver's comes."""
    origins = '"origin=NVIDIA"; "origin=Debian";'
    prepare = f"""
        set -e
        export DEBIAN_FRONTEND=noninteractive
        apt-get -q update
        apt-get -q install -y --no-install-recommends unattended-upgrades {BESIDE}
        echo 'Unattended-Upgrade::Origins-Pattern {{ {origins} }};' >/etc/apt/apt.conf.d/99tests
    """
    drivers.ask(HOST, prepare)
    drivers.publish([DRIVER, NEWER], beside="2")
    try:
        before = packages(drivers)
        kept = re.search(
            r"kept back:\n((?:  .*\n)+)", drivers.ask(HOST, "apt-get -q update; apt-get -s upgrade")
        )
        assert kept and set(DRIVERS_OWN[:2]) <= set(kept[1].split())
        run = drivers.sandbox.exec(HOST, "unattended-upgrade -d 2>&1")
        assert run.returncode == 0, run.stdout
        after = packages(drivers)
        changed = {name for name in after if after[name] != before.get(name)}
        assert BESIDE in changed, run.stdout
        assert not [name for name in changed if re.match(r"(lib)?nvidia|libcuda|linux-(image|headers)", name)]
        assert module(drivers, "version") == DRIVER.upstream
    finally:
        remove = f"apt-get -q purge -y --autoremove unattended-upgrades {BESIDE}; rm -f /etc/apt/apt.conf.d/99tests"
        drivers.ask(HOST, f"export DEBIAN_FRONTEND=noninteractive; {remove}")
        drivers.publish([DRIVER])


def test_an_upgrade_by_the_lock_and_back_leave_no_trace_of_the_other(two_versions: DriverHosts) -> None:
    drivers, lock = two_versions, two_versions.lock(HOST)
    before, first = drivers.fingerprint(HOST), lock.read_text()
    chosen = drivers.run("gpuwright", "lock", HOST, "--update", "--inventory", str(drivers.inventory))
    assert chosen.returncode == 0, chosen.stdout
    assert lock.read_text() == first.replace(DRIVER.version, NEWER.version)
    upgraded = drivers.deploy()
    assert upgraded.returncode == 0, upgraded.stdout
    assert module(drivers, "version") == NEWER.upstream
    assert drivers.ask(HOST, "cat /sys/module/nvidia/version") == NEWER.upstream
    assert not [line for line in drivers.fingerprint(HOST) if DRIVER.upstream in line]
    assert packages(drivers)["libcuda1"] == (NEWER.version, "hold")
    back = drivers.run("gpuwright", "rollback", HOST, "--inventory", str(drivers.inventory), "-y")
    assert back.returncode == 0, back.stdout
    assert drivers.fingerprint(HOST) == before
    assert lock.read_text() == first


@pytest.mark.full
def test_a_newer_branch_comes_when_it_is_declared_and_goes_as_the_refusal_says(drivers: DriverHosts) -> None:
    other = Release("595.71.05-1")
    before, first = drivers.fingerprint(HOST), drivers.lock(HOST).read_text()
    drivers.publish([DRIVER, other])
    moved = drivers.deploy("--data", "nvidia_driver_branch=595")
    assert moved.returncode == 0, moved.stdout
    there = packages(drivers)
    assert "nvidia-driver-pinning-580" not in there
    assert {there[name][0] for name in DRIVERS_OWN if name in there} == {other.version}
    assert module(drivers, "version") == other.upstream
    refused = drivers.deploy("--data", "nvidia_driver_branch=580")
    assert refused.returncode == 1, refused.stdout
    remedy = re.search(r"apt-get purge ([a-z0-9 .-]+); apt-get autoremove --purge", refused.stdout)
    assert remedy, refused.stdout
    drivers.ask(
        HOST,
        f"apt-get -q purge -y --allow-change-held-packages {remedy[1]}; apt-get -q autoremove -y --purge",
    )
    drivers.stand_in(HOST).boot(drivers.newest_kernel(HOST))
    drivers.lock(HOST).write_text(first)
    back = drivers.deploy()
    assert back.returncode == 0, back.stdout
    assert drivers.fingerprint(HOST) == before


@pytest.mark.full
def test_debians_own_driver_is_built_signed_held_and_stays(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Real packages, real modules of NVIDIA's for a Tesla P40, which nothing ever loads."""
    with driver_host(tmp_path_factory, "debians-own") as (drivers, authority):
        kernel = drivers.newest_kernel(HOST)
        drivers.prepare(HOST, authority, kernel, card="10de:1b38")
        drivers.stand_in(HOST).daemon("nvidia-persistenced")
        run = drivers.deploy(timeout_s=3600)
        assert run.returncode == 0, run.stdout
        modinfo = f"/sbin/modinfo -k '{kernel}' nvidia-current"
        fields = dict(re.findall(r"^(\w+): +(.*)$", drivers.ask(HOST, modinfo), flags=re.MULTILINE))
        there = packages(drivers)
        candidate = drivers.ask(HOST, "apt-cache policy nvidia-kernel-dkms | awk '/Candidate:/ { print $2 }'")
        assert candidate.startswith(fields["version"])
        assert there["nvidia-kernel-dkms"] == (candidate, "hold")
        assert fields["signer"] == "DKMS module signing key"
        assert fields["vermagic"].split()[0] == kernel
        assert fields["license"] == "NVIDIA"
        locked = json.loads(drivers.lock(HOST).read_text())["sets"]["nvidia"]["versions"]
        assert locked == {name: there[name][0] for name in locked}
        before = drivers.fingerprint(HOST)
        again = drivers.deploy()
        assert again.returncode == 0, again.stdout
        assert executed_changes(again.stdout) == set()
        assert drivers.fingerprint(HOST) == before
