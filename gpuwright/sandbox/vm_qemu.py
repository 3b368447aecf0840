"""One VM's process: QEMU with a throw-away disk, found by the name in its command line, also after a crash."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from gpuwright.errors import GpuwrightError
from gpuwright.sandbox.state import HostRecord

MEMORY_MIB = 1536
PROCESSORS = 2
_PROBE_S = 45.0
_SAYS_NOTHING_S = 15.0
_BOOTED = b"login:"
# A processor without what makes a guest load modules for it.
_EMULATED = ["-accel", "tcg,thread=multi", "-cpu", "qemu64,-svm"]


@dataclass(frozen=True)
class Machine:
    """A VM of the sandbox `label`. `directory` has its disk, its seed and what its serial console said."""

    label: str
    host: HostRecord
    directory: Path

    @property
    def title(self) -> str:
        """The name of its process."""
        return f"gpuwright-{self.label}-{self.host.name}"

    @property
    def disk(self) -> Path:
        """What it wrote, above the base disk."""
        return self.directory / "disk.qcow2"

    @property
    def seed(self) -> Path:
        """Its name and keys."""
        return self.directory / "seed.tar"

    @property
    def serial(self) -> Path:
        """Its serial console, from the first boot on."""
        return self.directory / "serial.log"


def processes(label: str) -> dict[str, int]:
    """Host name: pid, of every VM of the sandbox `label` that runs."""
    found = {}
    prefix = f"gpuwright-{label}-"
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        names = [words[i + 1].decode() for i, word in enumerate(words[:-1]) if word == b"-name"]
        if words[0].rpartition(b"/")[2].startswith(b"qemu-system") and names and names[0].startswith(prefix):
            found[names[0].removeprefix(prefix)] = int(entry.name)
    return found


def create_disk(machine: Machine, base: Path) -> None:
    """An overlay of the base disk; one that exists stays."""
    if machine.disk.exists():
        return
    machine.directory.mkdir(parents=True, exist_ok=True)
    beside = machine.disk.with_suffix(".new")
    command = [
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        "raw",
        "-b",
        str(base.absolute()),
        str(beside),
    ]
    subprocess.run(command, check=True, capture_output=True, text=True)
    beside.rename(machine.disk)


def start(machine: Machine, accelerator: str) -> None:
    """Start the process; it outlives this one. Raises GpuwrightError with QEMU's words where it does not start."""
    host = machine.host
    command = [
        *_command(accelerator),
        *("-name", machine.title, "-daemonize"),
        *("-drive", f"file={_escaped(machine.disk)},if=virtio,format=qcow2,cache=unsafe"),
        *("-drive", f"file={_escaped(machine.seed)},if=virtio,format=raw,readonly=on"),
        *("-nic", f"user,model=virtio-net-pci,hostfwd=tcp:{host.address}:{host.port}-:22"),
        *("-chardev", f"file,id=console,path={_escaped(machine.serial)},append=on"),
        *("-serial", "chardev:console"),
        *("-qmp", "unix:qmp.sock,server=on,wait=off"),  # relative: a socket's path has at most 107 bytes
    ]
    done = subprocess.run(command, cwd=machine.directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise GpuwrightError.of(
            f"sandbox host {host.name}",
            f"QEMU did not start: {done.stderr.strip()[-300:]}",
            f"{MEMORY_MIB} MiB of memory and port {host.port} on {host.address}",
            "Make room and run `gpuwright sandbox up` again.",
        )


def stop(pid: int, timeout_s: float = 20.0) -> None:
    """Switch a machine off at once, as a power cut would."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if not Path(f"/proc/{pid}").exists():
                return
            time.sleep(0.1)


def accelerator(base: Path) -> str:
    """kvm where it boots the base disk up to its login prompt, else tcg; looked at once and noted beside the disk."""
    note = base.with_suffix(f".{platform.release()}.accelerator")
    if not note.exists():
        note.write_text("kvm" if os.access("/dev/kvm", os.R_OK | os.W_OK) and _boots(base) else "tcg")
    return note.read_text()


def _boots(base: Path) -> bool:
    """/dev/kvm may be there and not work: guests then hang without a word, or die later."""
    drive = f"file={_escaped(base)},if=virtio,format=raw,snapshot=on"
    command = [*_command("kvm"), "-nic", "none", "-drive", drive, "-serial", "stdio"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as qemu:
        assert qemu.stdout is not None
        os.set_blocking(qemu.stdout.fileno(), False)
        began, said = time.monotonic(), b""
        try:
            while qemu.poll() is None and _BOOTED not in said:
                limit = _PROBE_S if said else _SAYS_NOTHING_S
                if time.monotonic() - began > limit:
                    return False
                said += qemu.stdout.read() or b""
                time.sleep(0.2)
            return _BOOTED in said
        finally:
            qemu.kill()


def _command(accel: str) -> list[str]:
    by = ["-accel", "kvm", "-cpu", "host"] if accel == "kvm" else _EMULATED
    sizes = ["-m", str(MEMORY_MIB), "-smp", str(PROCESSORS)]
    return ["qemu-system-x86_64", *by, *sizes, "-display", "none", "-device", "virtio-rng-pci"]


def _escaped(path: Path) -> str:
    """A comma ends a value in QEMU's options unless it is doubled."""
    return str(path.absolute()).replace(",", ",,")
