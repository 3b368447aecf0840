"""Hosts on which the roles of kernel and driver run: real systemd, apt and dkms, a stand-in for the GPU, a stub driver.

See gpu_stand_in.py, stub_driver.py and stub_toolkit.py for what is real on them and what is not.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trustme

from gpuwright.locks import DATUM
from gpuwright.sandbox.recipe import RELEASES
from tests.sandbox.gpu_stand_in import StandIn
from tests.sandbox.hosts import REPOSITORY, Sandbox
from tests.sandbox.stub_driver import Release, StubDriver
from tests.sandbox.stub_toolkit import StubToolkit

BIN = Path(sys.executable).parent
CARD = "10de:2684"  # GeForce RTX 4090: the plan takes NVIDIA's repository and the open modules for it
DRIVER = Release("580.159.04-1")
TOOLKIT = "1.20.0-1"
STORE = "/var/lib/gpuwright/packages"  # keeps what was installed, for a rollback
FINGERPRINT = (REPOSITORY / "tests" / "fingerprint.sh").read_text()
# No service: roles kernel and nvidia_driver are what is looked at. Nothing of the clock: that is the real machine's.
INVENTORY = """
import os as _os
for _name, _data in sandbox:
    _data |= {{"inference_services": [], "base_time_sync": "none", {datum!r}: {locks!r}}}
"""
# A kernel as an installer leaves it: the image without its headers. A small initramfs saves a minute for each kernel.
KERNEL = """
export DEBIAN_FRONTEND=noninteractive
apt-get -q update >/dev/null
apt-get -q install -y --no-install-recommends initramfs-tools zstd >/dev/null
sed -i 's/^MODULES=.*/MODULES=list/' /etc/initramfs-tools/initramfs.conf
apt-get -q install -y --no-install-recommends "linux-image-$1" >/dev/null
"""
OFFERED = "apt-cache pkgnames linux- | grep -E '^linux-(image|headers)-[0-9][^-]*-amd64$'"
NEWEST = "apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: linux-image-//p'"


@dataclass(frozen=True)
class DriverHosts:
    """The hosts, an inventory of them in `folder`, and the repositories that they take driver and toolkit from."""

    sandbox: Sandbox
    folder: Path
    stub: StubDriver
    toolkit: StubToolkit

    @property
    def inventory(self) -> Path:
        return self.folder / "hosts.py"

    def write_inventory(self) -> None:
        """The sandbox's inventory without services, with locks in `folder`."""
        more = INVENTORY.format(datum=DATUM, locks=str(self.folder / "locks"))
        self.inventory.write_text(self.sandbox.inventory.read_text() + more)
        if not (self.folder / "group_data").exists():
            (self.folder / "group_data").symlink_to(REPOSITORY / "inventories" / "group_data")

    def stand_in(self, host: str) -> StandIn:
        return StandIn(self.sandbox, host)

    def release(self, host: str) -> str:
        """debian 13"""
        (record,) = (each for each in self.sandbox.hosts if each["name"] == host)
        return str(record["os"]).replace("debian", "debian ")

    def prepare(self, host: str, authority: trustme.CA, kernel: str, card: str = CARD) -> None:
        """A bare machine with a card that runs `kernel`, and an administrator's sources of the stubs' repositories."""
        done = self.sandbox.exec(host, f"set -eu; set -- '{kernel}'; {KERNEL}")
        assert done.returncode == 0, done.stdout + done.stderr
        self.stand_in(host).dress(kernel, [card])
        self.stand_in(host).grub()
        self.stub.known_to(self.sandbox, host, self.release(host), authority)
        self.toolkit.known_to(self.sandbox, host, authority)

    def newest_kernel(self, host: str) -> str:
        """What linux-image-amd64 brings."""
        return self.ask(host, f"apt-get -q update >/dev/null && {NEWEST}")

    def older_kernel(self, host: str) -> str:
        """The oldest of which the archive still has image and headers."""
        names = set(self.ask(host, f"apt-get -q update >/dev/null && {OFFERED}").split())
        images = {name.removeprefix("linux-image-") for name in names if name.startswith("linux-image-")}
        return min((each for each in images if f"linux-headers-{each}" in names), key=_numbers)

    def publish(self, drivers: Sequence[Release], **faults: str | bool) -> None:
        """What the repositories of both releases have from now on."""
        for release in RELEASES:
            self.stub.publish(release.replace("debian", "debian "), drivers, **faults)  # type: ignore[arg-type]

    def run(self, *command: str, timeout_s: int = 1200) -> subprocess.CompletedProcess[str]:
        """A command of this virtual environment, without a terminal."""
        return subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            cwd=REPOSITORY,
            env={**os.environ, "GPUWRIGHT_STATE_DIR": str(self.sandbox.state_dir)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
            start_new_session=True,
        )

    def deploy(self, *words: str, timeout_s: int = 1200) -> subprocess.CompletedProcess[str]:
        """`pyinfra INVENTORY deploy.py -y`."""
        return self.run("pyinfra", str(self.inventory), "deploy.py", "-y", *words, timeout_s=timeout_s)

    def ask(self, host: str, shell: str) -> str:
        """Output of a command of root's, past SSH; it must end well."""
        done = self.sandbox.exec(host, shell)
        assert done.returncode == 0, f"{shell}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def fingerprint(self, host: str) -> list[str]:
        """What tests/fingerprint.sh says of the host, its modules and its holds, without the store and its folder."""
        more = "find /lib/modules -path '*/updates/dkms/*' | sort; dkms status; apt-mark showhold"
        lines = self.ask(host, f"{FINGERPRINT}\n{more}").splitlines()
        return [line for line in lines if STORE not in line and f" {STORE.rpartition('/')[0]} d " not in line]

    def lock(self, host: str) -> Path:
        return self.folder / "locks" / f"{host}.json"


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", name)))
