"""A newer kernel under a driver, in order: it does not come where the modules do not build, nor half-way unnoticed.

The host runs an older kernel of Debian's; "reboots" are the stand-in's (gpu_stand_in.py), kernels, GRUB's menu,
initramfs and dkms are real.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.sandbox.conftest import driver_host
from tests.sandbox.driver_hosts import DRIVER, DriverHosts
from tests.sandbox.stub_driver import Release

pytestmark = pytest.mark.full
HOST = "sbx1"
KEEP = ("--data", "kernel_flavour=keep")
NEWER = Release("580.178.04-1")
# /boot on a file system of its own, which somebody fills while the new kernel's package is being configured.
SMALL_BOOT = """
mkdir /run/boot && mount -t tmpfs -o size=$(($(du -sm /boot | cut -f1) + 200))m tmpfs /run/boot
cp -a /boot/. /run/boot/ && mount --move /run/boot /boot
cat >/etc/kernel/postinst.d/aaa-fill <<'HOOK'
#!/bin/sh
if dd if=/dev/zero of=/boot/filler bs=1M 2>/dev/null; then exit 1; fi
HOOK
chmod 0755 /etc/kernel/postinst.d/aaa-fill
"""
ROOM = "rm -f /boot/filler /etc/kernel/postinst.d/aaa-fill"


@dataclass(frozen=True)
class Kernels:
    """The host, the kernel that it runs at first, and the one that the plan wants."""

    drivers: DriverHosts
    old: str
    new: str

    def version(self, kernel: str) -> str:
        """Of the driver's module for a kernel, "" where there is none."""
        return self.drivers.sandbox.exec(
            HOST, f"/sbin/modinfo -k '{kernel}' -F version nvidia"
        ).stdout.strip()

    def clean(self) -> bool:
        """Whether dpkg has nothing half done."""
        return self.drivers.ask(HOST, "dpkg --audit") == ""


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernels]:
    """The driver works on the kernel that runs, and is older than the kernel to come."""
    with driver_host(tmp_path_factory, "kernels") as (drivers, authority):
        old, new = drivers.older_kernel(HOST), drivers.newest_kernel(HOST)
        assert old != new, "the archive has one kernel only: nothing to go to"
        drivers.prepare(HOST, authority, old)
        drivers.ask(HOST, f"apt-get -q install -y --no-install-recommends linux-headers-{old}")
        drivers.publish([Release(DRIVER.version, knows=old.partition("+")[0])])
        first = drivers.deploy(*KEEP)
        assert first.returncode == 0, first.stdout
        yield Kernels(drivers, old, new)


def test_the_kernel_that_is_kept_has_its_driver(kernels: Kernels) -> None:
    assert kernels.version(kernels.old) == DRIVER.upstream
    assert "linux-image-amd64" not in kernels.drivers.ask(
        HOST, "apt-mark showhold; dpkg-query -W -f '${Package}\\n'"
    )


def test_a_kernel_for_which_the_modules_do_not_build_does_not_come(kernels: Kernels) -> None:
    """apt would leave it half-configured, and every later run of apt would fail."""
    run = kernels.drivers.deploy()
    assert run.returncode == 1, run.stdout
    assert f"nvidia/{DRIVER.upstream} does not build for {kernels.new}" in run.stdout
    assert "too few arguments to function" in run.stdout
    assert "known cause: " in run.stdout
    assert "Traceback" not in run.stdout
    assert kernels.clean()
    assert kernels.new not in kernels.drivers.ask(HOST, "dpkg-query --show 'linux-*'; ls /boot")
    assert kernels.version(kernels.old) == DRIVER.upstream


def test_a_driver_that_copes_comes_first(kernels: Kernels) -> None:
    drivers = kernels.drivers
    drivers.publish([NEWER])
    words = ("--inventory", str(drivers.inventory))
    text = drivers.inventory.read_text()
    drivers.inventory.write_text(f'{text}\n    _data["kernel_flavour"] = "keep"\n')
    chosen = drivers.run("gpuwright", "lock", HOST, "--update", *words)
    assert chosen.returncode == 0, chosen.stdout
    moved = drivers.deploy()
    drivers.inventory.write_text(text)
    assert moved.returncode == 0, moved.stdout
    assert kernels.version(kernels.old) == NEWER.upstream


def test_boot_that_is_full_in_the_middle(kernels: Kernels) -> None:
    drivers = kernels.drivers
    drivers.ask(HOST, SMALL_BOOT)
    run = drivers.deploy()
    assert run.returncode == 1, run.stdout
    assert "a file system is full" in run.stdout
    assert "Traceback" not in run.stdout
    assert not kernels.clean()
    assert kernels.version(kernels.old) == NEWER.upstream
    assert drivers.ask(HOST, f"ls /boot/vmlinuz-{kernels.old} /boot/initrd.img-{kernels.old}")
    drivers.ask(HOST, ROOM)


def test_the_new_kernel_is_ready_and_waits_for_somebody_who_can_come_back(kernels: Kernels) -> None:
    """A stand-in for a disk cannot come back by itself, and the plan knows."""
    drivers = kernels.drivers
    run = drivers.deploy()
    assert run.returncode == 1, run.stdout
    assert f"kernel {kernels.new}: a boot that fails would not come back" in run.stdout
    assert kernels.clean()
    assert kernels.version(kernels.new) == kernels.version(kernels.old) == NEWER.upstream
    assert drivers.ask(HOST, f"ls /boot/initrd.img-{kernels.new}")
    locked = json.loads(drivers.lock(HOST).read_text())["sets"]["kernel"]["versions"]
    assert {"linux-image-amd64", "linux-headers-amd64"} <= set(locked)


def test_after_the_reboot_all_of_it_is_as_planned(kernels: Kernels) -> None:
    drivers = kernels.drivers
    drivers.stand_in(HOST).boot(kernels.new)
    run = drivers.deploy()
    assert run.returncode == 0, run.stdout
    assert drivers.ask(HOST, "cat /sys/module/nvidia/version") == NEWER.upstream
    before = drivers.fingerprint(HOST)
    again = drivers.deploy()
    assert again.returncode == 0, again.stdout
    assert drivers.fingerprint(HOST) == before
