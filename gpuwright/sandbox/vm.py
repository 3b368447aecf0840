"""A sandbox of virtual machines: hosts with a kernel and a boot loader of their own, slower than containers."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from gpuwright.errors import GpuwrightError
from gpuwright.sandbox import ssh, state, vm_image, vm_qemu, vm_seed
from gpuwright.sandbox.lifecycle import Progress, Row, recorded
from gpuwright.sandbox.state import VM, HostRecord
from gpuwright.sandbox.vm_qemu import Machine

# An emulated processor on a busy machine.
BOOT_TIMEOUT_S = 900.0
SHUTDOWN_TIMEOUT_S = 180.0


def up(directory: Path, count: int, releases: Sequence[str], progress: Progress) -> list[str]:
    """Bring the sandbox to at least `count` running VMs; returns the names of those started."""
    vm_image.need_tools()
    with state.locked(directory):
        key = ssh.ensure_key(directory)
        current = recorded(directory, key, count, releases, VM)
        machines = [machine_of(directory, host) for host in current.hosts]
        started = [machine for machine in machines if _ensure(directory, machine, key, progress)]
        lines = [vm_seed.known_host(machine.directory, machine.host) for machine in machines]
        state.write_private(Path(current.hosts[0].known_hosts), "\n".join(lines) + "\n")
        for machine in machines:
            progress(f"{machine.host.name} boots")
            wait_booted(machine)
        return [machine.host.name for machine in started]


def down(directory: Path, images: bool) -> list[str]:
    """Switch the VMs off and remove what `up` made; returns the names of the hosts that were there."""
    with state.locked(directory):
        running = vm_qemu.processes(state.label(directory))
        for pid in running.values():
            vm_qemu.stop(pid)
        machines = directory / "vm"
        names = {path.name for path in machines.iterdir()} if machines.exists() else set()
        shutil.rmtree(machines, ignore_errors=True)
        if images:
            shutil.rmtree(directory / "cache", ignore_errors=True)
        shutil.rmtree(directory / "ssh", ignore_errors=True)
        state.state_file(directory).unlink(missing_ok=True)
    (directory / "sandbox.lock").unlink(missing_ok=True)
    return sorted(names | set(running))


def restart(directory: Path, names: Sequence[str]) -> None:
    """Press the power button, switch on again, and return when systemd and sshd are up."""
    current = state.load(directory)
    for machine in [machine_of(directory, current.host(name)) for name in names]:
        pid = vm_qemu.processes(machine.label).get(machine.host.name)
        if pid is not None:
            _power_off(machine, pid)
        _start(directory, machine)
        wait_booted(machine)


def rows(directory: Path) -> list[Row]:
    """Every recorded host with the state of its systemd."""
    running = vm_qemu.processes(state.label(directory))
    return [_row(host) if host.name in running else Row(host, "down") for host in state.load(directory).hosts]


def console(directory: Path, name: str, lines: int) -> str:
    """What the serial console said last: the boot loader, the kernel, a panic."""
    serial = machine_of(directory, state.load(directory).host(name)).serial
    text = serial.read_text(errors="replace") if serial.exists() else ""
    return "\n".join(text.splitlines()[-lines:]) + "\n"


def wait_booted(machine: Machine) -> None:
    """Return when systemd has finished booting. Raises GpuwrightError with the console's last words."""
    deadline = time.monotonic() + BOOT_TIMEOUT_S
    says = "silent"
    while time.monotonic() < deadline:
        if machine.host.name not in vm_qemu.processes(machine.label):
            raise _stuck(machine, "QEMU ended while it booted")
        says = system_state(machine.host)
        if says in ("running", "degraded"):
            return
        time.sleep(2)
    raise _stuck(machine, f"not booted after {BOOT_TIMEOUT_S:.0f} s ({says})")


def system_state(host: HostRecord) -> str:
    """What systemd says of itself, through SSH; `booting` where nobody answers yet."""
    return _ask(host, ["systemctl", "is-system-running"]).strip() or "booting"


def _row(host: HostRecord) -> Row:
    says = system_state(host)
    if says != "degraded":
        return Row(host, says)
    listing = _ask(host, ["systemctl", "--failed", "--plain", "--no-legend", "--no-pager"])
    return Row(host, says, tuple(line.split()[0] for line in listing.splitlines() if line.strip()))


def _ask(host: HostRecord, command: list[str]) -> str:
    call = ssh.command(host, command)
    call[1:1] = ["-o", "ConnectTimeout=10", "-o", "BatchMode=yes"]
    try:
        done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=60)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout


def _ensure(directory: Path, machine: Machine, key: Path, progress: Progress) -> bool:
    if machine.host.name in vm_qemu.processes(machine.label):
        return False
    if not machine.disk.exists():
        wanted = vm_image.of(machine.host.os)
        if not vm_image.path(wanted, directory / "cache").exists():
            progress(f"building a {machine.host.os} base disk from packages (once, about 3 minutes)")
        vm_seed.write(machine.seed, machine.host, key.with_suffix(".pub").read_text())
        vm_qemu.create_disk(machine, vm_image.ensure(wanted, directory / "cache"))
    progress(f"starting {machine.host.name} ({machine.host.os})")
    _start(directory, machine)
    return True


def _start(directory: Path, machine: Machine) -> None:
    base = _base(machine)
    vm_qemu.start(machine, vm_qemu.accelerator(base))


def _base(machine: Machine) -> Path:
    """The base disk that the host was made from, which a newer recipe may have replaced for new ones."""
    command = ["qemu-img", "info", "--output=json", "--force-share", str(machine.disk)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Path(str(json.loads(done.stdout)["backing-filename"]))


def _power_off(machine: Machine, pid: int) -> None:
    _press_power_button(machine)
    deadline = time.monotonic() + SHUTDOWN_TIMEOUT_S
    while time.monotonic() < deadline and Path(f"/proc/{pid}").exists():
        time.sleep(0.5)
    vm_qemu.stop(pid)


def _press_power_button(machine: Machine) -> None:
    """Through QEMU's control socket, whose path may be too long for an address: by way of its directory."""
    directory = os.open(machine.directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(10)
            control.connect(f"/proc/self/fd/{directory}/qmp.sock")
            with control.makefile("rwb", buffering=0) as stream:
                stream.readline()  # QEMU's greeting
                for command in ("qmp_capabilities", "system_powerdown"):
                    stream.write(json.dumps({"execute": command}).encode() + b"\n")
                    while b'"return"' not in (line := stream.readline()) and line:
                        pass  # an event
    except OSError:
        return  # a machine that does not listen is switched off
    finally:
        os.close(directory)


def machine_of(directory: Path, host: HostRecord) -> Machine:
    return Machine(state.label(directory), host, directory / "vm" / host.name)


def _stuck(machine: Machine, observed: str) -> GpuwrightError:
    last = machine.serial.read_text(errors="replace").splitlines()[-3:] if machine.serial.exists() else []
    return GpuwrightError.of(
        f"sandbox host {machine.host.name}",
        f"{observed}; its console's last words: {' / '.join(line.strip() for line in last)[-300:]}",
        "a machine that boots",
        f"Read {machine.serial}.",
    )
