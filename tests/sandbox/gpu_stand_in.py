"""A sandbox host dressed up as a bare machine with GPUs. It has none: no result on it is called a GPU's.

What is a stand-in, and for whom:

- /sys/bus/pci/devices shows the functions of tests/fleet/parts.toml that a test names, flat, without bridges, and
  nothing else: for our probe.
- systemd-detect-virt in /usr/local/bin says `none`. pid 1 itself knows that it runs in a container, so units with
  ConditionVirtualization=!container stay down.
- The running kernel is a release of the test's choice: /proc/sys/kernel/osrelease, and `uname -r` by a program in
  /usr/local/bin, which is first in PATH for SSH and sudo, and by a file in /etc/apt/apt.conf.d for the scripts of
  packages. The real kernel never changes and loads no module: a reboot is a change of that text.
- nvidia-persistenced, where a test says so, is a sleep in its unit: the real one ends without a GPU.
- nvidia-smi, where a test says so, is tests/nvidia_smi.sh: cards are folders of files, and its words are those of logs.
- GRUB is Debian's, with a grub-probe that names a disk; its menu and its choice are real files, and boot nothing.
- /sys/firmware/efi has a SecureBoot variable; a mokutil in /usr/local/bin keeps the keys that a shim would, and the
  test is the person at the console. No signature of a module is checked.
- /dev/nvidia0 and its like are /dev/null under other names, so that a process can hold them; they answer nothing. An
  nvidia-modprobe in /usr/local/bin makes them, those of unified memory only with -u.
- /sys/module is empty until a `modprobe NAME` in /usr/local/bin has found the module in the stand-in's kernel: then it
  counts as loaded, and `modprobe -r` takes it away. /proc/driver/nvidia comes and goes with NVIDIA's, and names the
  cards of the bus, with UUIDs made of their addresses. No code of a module ever runs.

Real are Debian's packages and their scripts, apt, dpkg, dkms, the compiler, signatures, and every file they write.

It is mounts, which a restart of the container takes away, and files, which stay: `dress` again.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fleet.composition import bytes_of, parts
from tests.sandbox.hosts import Sandbox

SCRIPT = Path(__file__).with_suffix(".sh").read_text()
SMI = (Path(__file__).parents[1] / "nvidia_smi.sh").read_text()
NODE = "/dev/nvidia0"
FIRST_BUS = 0x41
FIRST_BAR = 1 << 40


@dataclass(frozen=True)
class StandIn:
    """The disguise of one sandbox host."""

    sandbox: Sandbox
    host: str

    def dress(self, kernel: str, cards: Sequence[str]) -> None:
        """A bare machine that runs `kernel`, with `cards` ("10de:2684") of tests/fleet/parts.toml on its bus.

        Raises KeyError for a card that parts.toml lacks.
        """
        functions = [["card", *_function(FIRST_BUS + place, card)] for place, card in enumerate(cards)]
        self._run(["machine"], *functions, ["kernel", kernel])

    def boot(self, kernel: str) -> None:
        """As if the host had rebooted into `kernel`, with no driver loaded yet; no process starts anew."""
        self._run(["boot", kernel])

    def grub(self) -> None:
        """A boot loader with a menu of the kernels in /boot."""
        self._run(["grub"])

    def daemon(self, name: str) -> None:
        """A daemon of the driver's that stays without a GPU."""
        self._run(["daemon", name])

    def secure_boot(self, state: str) -> None:
        """`enabled` or `disabled` by UEFI's variable, `none` for a container's firmware."""
        self._run(["secure_boot", state])

    def shim(self) -> None:
        """mokutil has a shim to talk to, which knows no key."""
        self._run(["shim"])

    def enrol(self, password: str) -> None:
        """Somebody at the console confirms the key that was asked for; another password than the staged one fails."""
        self._run(["enrol", password])

    def smi(self, address: str, **values: object) -> None:
        """nvidia-smi knows a card; `values` are the files of its folder."""
        call = shlex.join(["smi", address, *(f"{name}={value}" for name, value in values.items())])
        self._run_text(f"{call} <<'PROGRAM'\n{SMI}\nPROGRAM")

    def no_smi(self) -> None:
        """There is no nvidia-smi any more."""
        self._run(["no_smi"])

    def node(self, path: str = NODE) -> None:
        """A device node that can be held open."""
        self._run(["node", path])

    def no_node(self, path: str = NODE) -> None:
        """The node is gone."""
        self._run(["no_node", path])

    def _run(self, *commands: Sequence[str]) -> None:
        self._run_text("\n".join(map(shlex.join, commands)))

    def _run_text(self, commands: str) -> None:
        done = self.sandbox.exec(self.host, f"{SCRIPT}\n{commands}")
        assert done.returncode == 0, f"{self.host}: {commands}: {done.stdout}{done.stderr}"


def _function(bus: int, card: str) -> Iterator[str]:
    """An address, and sysfs's files of a function of parts.toml as NAME=VALUE."""
    part = parts().function[card]
    vendor, device = card.split("-")[0].split(":")
    yield f"0000:{bus:02x}:00.0"
    yield from (f"class=0x{part.class_code}", f"vendor=0x{vendor}", f"device=0x{device}")
    for name, value in zip(("vendor", "device"), part.subsystem.split(":"), strict=True):
        yield f"subsystem_{name}=0x{value}"
    yield "numa_node=-1"
    if part.link is not None:
        speed, width = part.link
        for when in ("max", "current"):
            yield from (f"{when}_link_speed={speed} GT/s PCIe", f"{when}_link_width={width}")
    yield f"resource={' '.join(_bars(bus, part.bars))}"


def _bars(bus: int, sizes: Sequence[str]) -> Iterator[str]:
    """`start-end` of each base address register: as large as the card's, side by side."""
    start = bus * FIRST_BAR
    for size in map(bytes_of, sizes):
        yield f"{start:#018x}-{start + size - 1:#018x}" if size else f"{0:#018x}-{0:#018x}"
        start += size
