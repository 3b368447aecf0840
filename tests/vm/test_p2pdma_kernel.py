"""A kernel that `gpuwright kernel build` made: a host installs it by apt and boots it; the probe finds P2PDMA."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from gpuwright.plan.stack_model import BootPlan
from gpuwright.sandbox import ssh, state
from tests.sandbox.hosts import REPOSITORY, gpuwright
from tests.vm.machine import BIN, INVENTORY, Machine

PLACE = "/srv/gpuwright-kernels"
INSTALL = """
export DEBIAN_FRONTEND=noninteractive
cp {place}/gpuwright-kernels.sources /etc/apt/sources.list.d/
apt-get -q update
apt-get -q install --yes --no-install-recommends {image} {headers}
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The part of the repository that is served, with a reduced kernel; GPUWRIGHT_TEST_KERNELS names an earlier one."""
    named = os.environ.get("GPUWRIGHT_TEST_KERNELS")
    output = Path(named) if named else tmp_path_factory.mktemp("kernels")
    if not (output / "debian13" / "apt" / "InRelease").exists():
        what = ("--base", "debian13", "--enable", "p2p", "--reduced", "--jobs", str(os.cpu_count() or 1))
        gpuwright("kernel", "build", *what, "--output", str(output))
    return output / "debian13" / "apt"


@pytest.mark.full
def test_a_built_kernel_boots_and_the_probe_finds_p2pdma(machine: Machine, repository: Path) -> None:
    (image,) = {path.name.split("_")[0] for path in repository.glob("linux-image-*-p2p-reduced_*.deb")}
    release = image.removeprefix("linux-image-")
    _copy(machine, repository)
    machine.ask(INSTALL.format(place=PLACE, image=image, headers=f"linux-headers-{release}"))
    assert _kernels(machine)[release] | {"running": False} == {
        "running": False,
        "headers": True,
        "PCI_P2PDMA": "y",
        "DEVICE_PRIVATE": "y",
    }
    ran = machine.deploy(BootPlan(image, (), "grub", "grubenv", ("vfat",)), data=("maintenance=true",))
    assert ran.code == 0, ran.text + machine.console()
    assert machine.running() == release
    assert machine.ask("systemctl is-system-running --wait") == "running"
    machine.ask("modprobe vfat")
    found = _kernels(machine)
    assert found[release]["running"] and found[release]["PCI_P2PDMA"] == "y"
    assert [name for name, kernel in found.items() if kernel["running"]] == [release]
    assert (
        machine.ask("dpkg-query -W -f '${Version}' linux-libc-dev 2>/dev/null || echo none").find("+p2p") < 0
    )


def _copy(machine: Machine, folder: Path) -> None:
    """The folder, as PLACE on the machine."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in folder.iterdir():
            archive.add(path, path.name)
    record = state.load(machine.state_dir).host("sbx1")
    remote = "rm -rf kernels && mkdir kernels && tar -xf - -C kernels"
    subprocess.run(ssh.command(record, [remote]), input=buffer.getvalue(), check=True)
    machine.ask(f"rm -rf {PLACE} && mv ~{record.user}/kernels {PLACE} && chown -R root: {PLACE}")


def _kernels(machine: Machine) -> dict[str, dict[str, object]]:
    """What `gpuwright facts` says of each kernel: whether it runs, has headers, and the options about peers."""
    words = [str(BIN / "gpuwright"), "facts", "sbx1", "--inventory", str(INVENTORY), "--json"]
    environment = os.environ | {"GPUWRIGHT_STATE_DIR": str(machine.state_dir)}
    done = subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    peers = ("PCI_P2PDMA", "DEVICE_PRIVATE", "HSA_AMD_P2P")
    return {
        kernel["release"]: {
            "running": kernel["running"],
            "headers": kernel["headers"],
            **{symbol: value for symbol, value in kernel["config"] if symbol in peers and value != "n"},
        }
        for kernel in json.loads(done.stdout)["found"]["kernels"]
    }
