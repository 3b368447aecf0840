"""The part of verify's script about drivers, run by this machine's sh over stand-ins of the programs that it calls."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gpuwright.status_probe import parse_sections
from gpuwright.verify import driver_readings as read
from gpuwright.verify.readings import Readings
from gpuwright.verify.scripts import state_script
from tests.unit.test_verify_driver import NVIDIA, RELEASE

ADDRESS = NVIDIA.plan.gpus[0].address
MODINFO = f"""
if [ "$2" = {RELEASE} ] && [ "$3" = nvidia ]; then
    printf 'filename:       /lib/modules/{RELEASE}/updates/dkms/nvidia.ko.xz\\n'
    printf 'firmware:       nvidia/gsp_ga10x.bin\\nversion:        580.126.09\\nsupported:      external\\n'
    printf 'signer:         DKMS module signing key\\nsig_key:        0A:1B\\nparm:           version:none (int)\\n'
else
    echo "modinfo: ERROR: Module $3 not found." >&2
    exit 1
fi
"""
# Columns as dpkg-query prints them for the two formats that are asked for.
DPKG = """
case "$*" in
*Status-Want*)
    printf 'nvidia-driver-cuda\\t580.126.09-1\\thold\\tinstalled\\t, libcuda1 (= 580.126.09-1)\\n'
    printf 'libcuda1\\t580.126.09-1\\tinstall\\tinstalled\\t, libc6\\n'
    printf 'nvidia-old\\t535-1\\tdeinstall\\tconfig-files\\t, \\n'
    printf 'bash\\t5.2\\tinstall\\tinstalled\\tlibc6, \\n' ;;
*Depends*linux-image-amd64) printf 'linux-image-%s (= 6.12.117-1)' "$(uname -r)" ;;
*) exit 1 ;;
esac
"""
CONFIG = """
printf 'options nouveau modeset=0\\nblacklist nouveau\\nblacklist nova-core\\n'
printf '# End of configuration files. Dumping indexes now:\\nblacklist nova_drm\\n'
"""
Program = Callable[[str, str], None]
Run = Callable[[], Readings]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    # What this machine has of these must not answer; docker would, slowly.
    for name in ("journalctl", "dmesg", "nvidia-smi", "docker", "modinfo", "modprobe", "dpkg-query"):
        write(name, "exit 1")
    write("uname", f"echo {RELEASE}")
    return write


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def script() -> Readings:
        done = subprocess.run(
            ["sh", "-c", state_script(NVIDIA.plan, [])],
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Readings(NVIDIA.facts, parse_sections(done.stdout))

    return script


def test_modules_by_kernel(program: Program, run: Run) -> None:
    program("modinfo", MODINFO)
    found = read.modules(run())
    path = f"/lib/modules/{RELEASE}/updates/dkms/nvidia.ko.xz"
    assert found is not None
    assert found[RELEASE, "nvidia"] == read.ModuleFile(path, "580.126.09", "DKMS module signing key")
    program("modinfo", "exit 1")
    assert read.modules(run()) == {(release, "nvidia"): None for release, _ in found}


def test_locked_packages_and_their_closure(program: Program, run: Run) -> None:
    program("dpkg-query", DPKG)
    readings = run()
    found = read.locked_packages(readings)
    assert found is not None
    assert {name: package.held for name, package in found.items()} == {
        "nvidia-driver-cuda": True,
        "libcuda1": False,
    }
    assert read.kernels_of(readings) == {RELEASE}
    program("dpkg-query", "exit 2")
    assert read.locked_packages(run()) is None


def test_rivals_by_what_modprobe_reads_and_not_by_its_indexes(program: Program, run: Run) -> None:
    program("modprobe", CONFIG)
    found = read.rivals(run())
    assert found is not None
    assert [name for name, rival in found.items() if rival.barred] == ["nouveau"]


def test_nvidia_smi_and_its_exit_code(program: Program, run: Run) -> None:
    program("nvidia-smi", f"echo '0000{ADDRESS.upper()}, 580.126.09, Enabled'")
    assert read.smi(run()) == read.Smi(
        0, {ADDRESS: ("580.126.09", "Enabled")}, f"0000{ADDRESS.upper()}, 580.126.09, Enabled"
    )
    program("nvidia-smi", "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18")
    assert read.smi(run()) == read.Smi(18, {}, "Failed to initialize NVML: Driver/library version mismatch")


def test_the_journal_goes_before_the_ring_buffer(program: Program, run: Run) -> None:
    program("dmesg", "echo '[0.0] Linux version 6.12'; echo '[9.9] NVRM: Xid (PCI:0000:41:00): 79, pid=1'")
    log = read.log(run())
    assert log and log.whole
    assert [fault.where for fault in log.faults] == ["0000:41:00"]
    program("journalctl", "echo 'NVRM: Xid (PCI:0000:42:00): 13, pid=1'; echo other")
    log = read.log(run())
    assert log and not log.whole
    assert [fault.where for fault in log.faults] == ["0000:42:00"]
    assert "other" not in log.text


def test_a_log_that_nobody_may_read_is_unknown(program: Program, run: Run) -> None:
    assert read.log(run()) is None


def test_programs_that_fail_have_said_nothing(program: Program, run: Run) -> None:
    readings = run()
    assert read.rivals(readings) is None
    assert read.locked_packages(readings) is None
    smi = read.smi(readings)
    assert smi is not None and (smi.code, smi.gpus) == (1, {})
