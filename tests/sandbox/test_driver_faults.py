"""What goes wrong while a driver changes: one sentence, the driver that was there stays, the next run converges.

The host is that of test_drivers.py: a stand-in for the GPU, a stub of NVIDIA's repository, real apt, dpkg, dkms. Each
test moves the host to the other of two versions, is stopped by its fault, and gets there once that is gone.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.sandbox.driver_hosts import DRIVER, DriverHosts
from tests.sandbox.hosts import REPOSITORY
from tests.sandbox.stub_driver import Release

HOST = "sbx1"
NEWER = Release("580.178.04-1")
MODULE = "nvidia"
# A package of somebody else's, made on the host: $1 name, $2 relations, $3 its postinst
FOREIGN = """
foreign() {
    rm -rf /root/foreign; mkdir -p /root/foreign/DEBIAN
    printf 'Package: %s\\nVersion: 1\\nArchitecture: all\\n%s\\n' "$1" "$2" >/root/foreign/DEBIAN/control
    printf 'Maintainer: tests <tests@example.invalid>\\nDescription: a test\\n' >>/root/foreign/DEBIAN/control
    printf '#!/bin/sh\\n%s\\n' "$3" >/root/foreign/DEBIAN/postinst
    chmod 0755 /root/foreign/DEBIAN/postinst
    dpkg-deb --build /root/foreign /root/foreign.deb >/dev/null && dpkg -i /root/foreign.deb 2>&1
}
"""
# What a fault that was not mended by its own test would leave to the next one.
MENDED = """
systemctl start stub-mirror.socket
touch /run/well
for name in clings breaks; do if dpkg-query --status "$name" >/dev/null 2>&1; then dpkg --purge "$name"; fi; done
dpkg --configure -a
rm -f /run/well
"""


@dataclass(frozen=True)
class Move:
    """The host's lock names `target`, and the driver `there` is installed."""

    drivers: DriverHosts
    there: Release
    target: Release

    def refused(self, words: str) -> str:
        """A run fails with `words` (a regex), and leaves the host as it was."""
        before = self.drivers.fingerprint(HOST)
        run = self.drivers.deploy()
        assert run.returncode == 1, run.stdout
        assert re.search(words, run.stdout), run.stdout
        assert "Traceback" not in run.stdout
        assert self.drivers.fingerprint(HOST) == before
        assert self.module() == self.there.upstream
        return run.stdout

    def converges(self) -> None:
        """The next run brings the target about."""
        run = self.drivers.deploy()
        assert run.returncode == 0, run.stdout
        assert self.module() == self.target.upstream
        assert self.drivers.ask(HOST, "cat /sys/module/nvidia/version") == self.target.upstream
        assert self.drivers.ask(HOST, "dpkg --audit") == ""

    def module(self) -> str:
        """The version of the module that the host's kernel would load."""
        return self.drivers.ask(HOST, f'/sbin/modinfo -k "$(uname -r)" -F version {MODULE}')


@pytest.fixture
def move(drivers: DriverHosts) -> Move:
    """To the version that the host does not have; nothing of it lies on the host's disk, nor any fault before it."""
    drivers.publish([DRIVER, NEWER])
    drivers.ask(HOST, MENDED)
    lock = drivers.lock(HOST)
    installed = drivers.ask(HOST, "dpkg-query --show --showformat '${Version}' libcuda1")
    there, target = (DRIVER, NEWER) if installed == DRIVER.version else (NEWER, DRIVER)
    lock.write_text(lock.read_text().replace(there.version, target.version))
    drivers.ask(HOST, "apt-get clean; rm -rf /var/lib/gpuwright/packages; apt-get -q update")
    return Move(drivers, there, target)


@pytest.fixture(scope="module", autouse=True)
def as_it_was(drivers: DriverHosts) -> Iterator[None]:
    """Other files find the host with the first version."""
    first = drivers.lock(HOST).read_text()
    yield
    drivers.publish([DRIVER, NEWER])
    drivers.lock(HOST).write_text(first)
    assert drivers.deploy().returncode == 0
    drivers.publish([DRIVER])


def test_a_mirror_that_is_down(move: Move) -> None:
    move.drivers.ask(HOST, "systemctl stop stub-mirror.socket stub-mirror.service")
    said = move.refused(
        r"apt-get update: a package source does not answer \(.*developer\.download\.nvidia\.com"
    )
    assert "; required: indexes of all sources. " in said
    move.drivers.ask(HOST, "systemctl start stub-mirror.socket")
    move.converges()


def test_a_package_that_is_not_what_its_index_says(move: Move) -> None:
    move.drivers.stub.spoil("libcuda1")
    move.refused("what was downloaded is not what its index promises")
    move.drivers.publish([DRIVER, NEWER])
    move.converges()


def test_an_index_that_has_expired(move: Move) -> None:
    move.drivers.publish([DRIVER, NEWER], expired=True)
    move.refused("the repository's signature or its key has expired")
    move.drivers.publish([DRIVER, NEWER])
    move.converges()


def test_an_index_that_somebody_else_signed(move: Move) -> None:
    move.drivers.publish([DRIVER, NEWER], signed_by="stranger")
    move.refused("the repository is not signed by the key that is trusted for it")
    move.drivers.publish([DRIVER, NEWER])
    move.converges()


def test_a_held_package_that_needs_the_old_version(move: Move) -> None:
    needs = f"Depends: libcuda1 (= {move.there.version})"
    move.drivers.ask(HOST, f"{FOREIGN}\nforeign clings '{needs}' true && apt-mark hold clings")
    move.refused("clings")
    move.drivers.ask(HOST, "dpkg --purge clings")
    move.converges()


def test_a_package_that_dpkg_cannot_configure(move: Move) -> None:
    made = move.drivers.sandbox.exec(HOST, f"{FOREIGN}\nforeign breaks Section:\\ misc '[ -e /run/well ]'")
    assert made.returncode != 0, made.stdout
    move.refused("breaks")
    move.drivers.ask(HOST, "touch /run/well")
    move.converges()
    move.drivers.ask(HOST, "dpkg --purge breaks")


def test_modules_that_do_not_build(move: Move) -> None:
    """The new version is older than the kernel: tried beforehand, so the old module is still there."""
    broken = Release(move.target.version, knows="5.0.0")
    move.drivers.publish([move.there, broken])
    said = move.refused("too few arguments to function .*pci_resize_resource")
    assert re.search(r"known cause: .*pci_resize_resource\(\) takes a fourth argument", said)
    move.drivers.publish([DRIVER, NEWER])
    move.converges()


def test_a_process_that_holds_the_gpu(move: Move) -> None:
    drivers = move.drivers
    drivers.stand_in(HOST).node()
    drivers.ask(HOST, "systemd-run --quiet --unit=trains sh -c 'exec 3</dev/nvidia0; exec sleep 1000'")
    try:
        pid = drivers.ask(HOST, "systemctl show --property=MainPID --value trains")
        said = move.refused(rf"pid {pid} sleep \(unit trains\.service\) holds /dev/nvidia0")
        assert "systemctl stop trains.service" in said
        assert drivers.ask(HOST, "systemctl is-active trains") == "active"  # nothing was killed
    finally:
        drivers.ask(HOST, "systemctl stop trains")
    move.converges()
    drivers.stand_in(HOST).no_node()


def test_a_newer_kernel_without_headers(move: Move) -> None:
    """It could boot next, and would come up without a driver."""
    drivers = move.drivers
    move.converges()
    before = drivers.fingerprint(HOST)
    kernel = drivers.newest_kernel(HOST).replace("-amd64", "-cloud-amd64")
    drivers.ask(HOST, f"apt-get -q install -y --no-install-recommends linux-image-{kernel}")
    run = drivers.deploy()
    assert run.returncode == 1, run.stdout
    assert f"kernel {kernel}: module nvidia is missing, and its headers are not there" in run.stdout
    assert f"apt-get install linux-headers-{kernel}" in run.stdout
    assert move.module() == move.target.upstream
    drivers.ask(HOST, f"apt-get -q purge -y linux-image-{kernel}")
    again = drivers.deploy()
    assert again.returncode == 0, again.stdout
    assert drivers.fingerprint(HOST) == before


def test_secure_boot_with_a_key_that_nobody_enrolled(move: Move) -> None:
    """A new key, as on a bare host; nothing of the driver is loaded after the reboot into Secure Boot."""
    drivers, machine = move.drivers, move.drivers.stand_in(HOST)
    machine.shim()
    machine.secure_boot("enabled")
    machine.boot(drivers.newest_kernel(HOST))
    drivers.ask(HOST, "rm -f /var/lib/dkms/mok.key /var/lib/dkms/mok.pub")
    try:
        first, second = drivers.deploy(), drivers.deploy()
        for run in (first, second):
            assert run.returncode == 1, run.stdout
            assert "the firmware does not know /var/lib/dkms/mok.pub" in run.stdout
            assert "Enroll MOK" in run.stdout and "Traceback" not in run.stdout
            assert move.module() == move.there.upstream
        (password,) = {*re.findall(r"password (\d{8}),", first.stdout + second.stdout)}
        assert (
            drivers.ask(HOST, "stat -c %a /var/lib/dkms/mok.key /var/lib/gpuwright/mok-password")
            == "600\n600"
        )
        machine.enrol(password)
        move.converges()
    finally:
        machine.secure_boot("none")


def test_a_connection_that_is_cut_while_apt_works(move: Move) -> None:
    """sshd's processes of the session end; what apt had begun goes on or is taken up."""
    drivers = move.drivers
    command = [str(Path(sys.executable).parent / "pyinfra"), str(drivers.inventory), "deploy.py", "-y"]
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "GPUWRIGHT_STATE_DIR": str(drivers.sandbox.state_dir)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as run:
        deadline = time.monotonic() + 300
        while "apt-get -q install" not in drivers.ask(HOST, "ps -eo args"):
            assert run.poll() is None and time.monotonic() < deadline, run.stdout.read() if run.stdout else ""
            time.sleep(0.2)
        sessions = "ps -eo pid=,args= | awk '/sshd(-session)?: ops/ { print $1 }'"
        drivers.ask(HOST, f"kill $({sessions})")
        said = run.communicate(timeout=600)[0]
    assert run.returncode == 1, said
    assert "connection" in said
    assert "Traceback" not in said
    while "apt-get -q install" in drivers.ask(HOST, "ps -eo args"):
        time.sleep(1)
    move.converges()
