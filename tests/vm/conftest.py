"""One VM for all tests of this folder: Debian 13 with its own kernel and a second one, and a sudo that asks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gpuwright.sandbox import state
from tests.sandbox.hosts import gpuwright
from tests.vm.machine import Machine

PASSWORD = "p $'\"\\!q"
SECOND_KERNEL = "linux-image-cloud-amd64"


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """GPUWRIGHT_STATE_DIR names its state, GPUWRIGHT_KEEP_SANDBOX keeps it."""
    named = os.environ.get("GPUWRIGHT_STATE_DIR")
    state_dir = Path(named) / "vm-host" if named else tmp_path_factory.mktemp("vm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPUWRIGHT_STATE_DIR", str(state_dir))
        gpuwright("sandbox", "up", "--vm")
        try:
            made = Machine(state_dir)
            _ask_for_a_password(made)
            made.ask(
                f"dpkg-query --status {SECOND_KERNEL} >/dev/null 2>&1 && exit; "
                "export DEBIAN_FRONTEND=noninteractive && apt-get -q update && "
                f"apt-get -q install --yes --no-install-recommends {SECOND_KERNEL}"
            )
            yield made
        finally:
            if not os.environ.get("GPUWRIGHT_KEEP_SANDBOX"):
                gpuwright("sandbox", "down")


def _ask_for_a_password(machine: Machine) -> None:
    """Another connection after a reboot needs sudo's password again."""
    current = state.load(machine.state_dir)
    (host,) = current.hosts
    if host.sudo_password is None:
        quoted = "'" + f"ops:{PASSWORD}".replace("'", "'\\''") + "'"
        machine.ask(f"printf '%s\\n' {quoted} | chpasswd && echo 'ops ALL=(ALL:ALL) ALL' >/etc/sudoers.d/ops")
        state.save(machine.state_dir, replace(current, hosts=(replace(host, sudo_password=PASSWORD),)))
