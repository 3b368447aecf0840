"""A VM's disk and seed, byte by byte, and which processes are whose."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gpuwright.errors import GpuwrightError
from gpuwright.sandbox import cli, lifecycle, state, vm, vm_image, vm_qemu, vm_seed
from gpuwright.sandbox.state import CONTAINER, VM, HostRecord, State


def record(name: str = "sbx1", password: str | None = None) -> HostRecord:
    return HostRecord(name, "127.0.0.1", 20001, "ops", "/k/id", "/k/known_hosts", "debian13", password, VM)


def test_the_boot_sectors_are_what_bios_and_grub_look_for() -> None:
    disk = io.BytesIO(b"\0" * 4096)
    vm_image.write_boot_sectors(disk, b"\xeb" * 512, b"\x52" * 1000)
    sector = disk.getvalue()[:512]
    assert sector[:440] == b"\xeb" * 440 and sector[510:] == b"\x55\xaa"
    assert sector[440:446] == b"\0" * 6  # the disk's own id
    active, _, kind, _, start, length = struct.unpack("<B3sB3sII", sector[446:462])
    assert (active, kind, start) == (0x80, 0x83, vm_image.START)
    assert (start + length) * vm_image.SECTOR == vm_image.SIZE
    assert sector[462:510] == b"\0" * 48
    assert disk.getvalue()[512:1512] == b"\x52" * 1000


def test_a_core_that_would_reach_into_the_partition_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        vm_image.write_boot_sectors(io.BytesIO(), b"\0" * 512, b"\0" * vm_image.START * vm_image.SECTOR)


def test_a_seed_is_a_whole_disk_that_only_its_owner_reads(tmp_path: Path) -> None:
    seed = tmp_path / "sbx1" / "seed.tar"
    vm_seed.write(seed, record(password="p $'\"\\!q"), "ssh-ed25519 AAAA sandbox\n")
    assert seed.stat().st_size % vm_image.SECTOR == 0 and seed.stat().st_mode & 0o077 == 0
    with tarfile.open(seed) as tar:
        found = {member.name: member for member in tar}
        password = tar.extractfile("root/sandbox-password")
        assert password is not None and password.read().decode() == "ops:p $'\"\\!q\n"
    assert found["home/ops/.ssh"].isdir() and found["home/ops/.ssh/authorized_keys"].uid == vm_seed.USER_ID
    assert found["etc/ssh/ssh_host_ed25519_key"].mode == 0o600
    assert vm_seed.known_host(seed.parent, record()).startswith("[127.0.0.1]:20001 ssh-ed25519 AAAA")
    before = seed.read_bytes()
    vm_seed.write(seed, record(), "another key\n")
    assert seed.read_bytes() == before  # a host keeps what it has


def test_processes_are_found_by_the_sandbox_in_their_name() -> None:
    # a program called qemu-system-..., with a VM's words
    link = f"qemu-system-test-{os.getpid()}"
    script = "import sys; print('ready', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [link, "-c", script, "-name", "gpuwright-abc-sbx1"],
        executable=sys.executable, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        assert vm_qemu.processes("abc") == {"sbx1": process.pid}
        assert vm_qemu.processes("abd") == {}
        process.kill()


def test_missing_programs_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        vm_image.shutil, "which", lambda tool, path: None if tool.startswith("qemu") else tool
    )
    with pytest.raises(GpuwrightError, match=r"apt-get install qemu-system-x86 qemu-utils$"):
        vm_image.need_tools()


def test_a_sandbox_is_of_one_kind(tmp_path: Path) -> None:
    (tmp_path / "ssh").mkdir()
    key = tmp_path / "ssh" / "id"
    state.save(tmp_path, State((record(),)))
    assert lifecycle.recorded(tmp_path, key, 1, ["debian13"], VM).hosts == (record(),)
    with pytest.raises(GpuwrightError, match="sbx1: vm"):
        lifecycle.recorded(tmp_path, key, 2, ["debian13"], CONTAINER)


def test_looking_at_vms_needs_no_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUWRIGHT_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    state.save(tmp_path, State((record(),)))
    serial = tmp_path / "vm" / "sbx1" / "serial.log"
    serial.parent.mkdir(parents=True)
    serial.write_text("GRUB\nKernel panic - not syncing\n")
    listed = CliRunner().invoke(cli.app, ["list"])
    assert listed.exit_code == 0 and "down" in listed.output
    said = CliRunner().invoke(cli.app, ["logs", "sbx1", "-n", "1"])
    assert said.exit_code == 0 and said.output == "Kernel panic - not syncing\n"
    assert vm.down(tmp_path, images=False) == ["sbx1"]
    assert not serial.exists() and not state.state_file(tmp_path).exists()
