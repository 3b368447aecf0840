"""A virtual machine as tests see it: through our own ssh command, and through runs of pyinfra as a user starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from gpuwright.plan.stack_model import BootPlan
from gpuwright.sandbox import ssh, state, vm

REPOSITORY = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
INVENTORY = REPOSITORY / "inventories" / "sandbox.py"


@dataclass(frozen=True)
class Ran:
    """A run of pyinfra: its exit code, and what it printed."""

    code: int
    text: str


@dataclass(frozen=True)
class Machine:
    """The VM sbx1 of a sandbox."""

    state_dir: Path

    def ask(self, shell: str) -> str:
        """The output of a shell command as root; it must succeed."""
        record = state.load(self.state_dir).host("sbx1")
        sudo = "sudo -n" if record.sudo_password is None else "sudo -S -p ''"
        said = subprocess.run(
            ssh.command(record, [f"{sudo} sh -c {_quoted(shell)}"]),
            input=f"{record.sudo_password or ''}\n",
            capture_output=True,
            text=True,
            check=False,
        )
        assert said.returncode == 0, said.stdout + said.stderr
        return said.stdout.strip()

    def running(self) -> str:
        """The release of the kernel that runs."""
        return self.ask("uname -r")

    def boot_id(self) -> str:
        """Another one after each boot."""
        return self.ask("cat /proc/sys/kernel/random/boot_id")

    def cmdline(self) -> list[str]:
        """The words that the kernel was given."""
        return self.ask("cat /proc/cmdline").split()

    def chosen(self) -> dict[str, str]:
        """What GRUB's environment has."""
        return dict(line.split("=", 1) for line in self.ask("grub-editenv list").splitlines() if "=" in line)

    def wait_booted(self) -> None:
        """Return when systemd has finished booting."""
        record = state.load(self.state_dir).host("sbx1")
        vm.wait_booted(vm.machine_of(self.state_dir, record))

    def console(self, lines: int = 2000) -> str:
        """What the serial console said last."""
        return vm.console(self.state_dir, "sbx1", lines)

    def deploy(self, *boots: BootPlan, data: tuple[str, ...] = ()) -> Ran:
        """Run the boot operations to their end."""
        process = self.start(*boots, data=data)
        text, _ = process.communicate()
        return Ran(process.returncode, text)

    def start(self, *boots: BootPlan, data: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """Start a run of the boot operations."""
        command = [str(BIN / "pyinfra"), str(INVENTORY), "tests/vm/boot_deploy.py", "-y", "--diff"]
        environment = os.environ | {
            "GPUWRIGHT_STATE_DIR": str(self.state_dir),
            "GPUWRIGHT_TEST_BOOTS": json.dumps([asdict(boot) for boot in boots]),
            "PYTHONUNBUFFERED": "1",
        }
        return subprocess.Popen(
            [*command, *(word for each in data for word in ("--data", each))],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def wait_line(process: subprocess.Popen[str], words: str) -> None:
    """Return when the run prints a line with `words`; it must."""
    assert process.stdout is not None
    read = []
    for line in process.stdout:
        read.append(line)
        if words in line:
            return
    raise AssertionError(f"{words!r} was never printed:\n{''.join(read)}")


def wait_gone(machine: Machine, boot_id: str) -> None:
    """Return when the machine has left the boot `boot_id`, and booted another time."""
    deadline = time.monotonic() + vm.BOOT_TIMEOUT_S
    while time.monotonic() < deadline:
        machine.wait_booted()
        if machine.boot_id() != boot_id:
            return
        time.sleep(5)
    raise AssertionError(f"it still runs since boot {boot_id}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
