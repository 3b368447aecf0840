"""The real script on a server's tree: what it reads, what it costs, and what it says of what a user may not read."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gpuwright.errors import GpuwrightError
from gpuwright.facts import HostFacts, parse
from gpuwright.facts.model import Boot, Driver, InstalledPackage, Kernel, Leftover, LinkNow, Machine, Nic
from tests.probed import MAC, SERIAL, config, server, write

PROBE = Path(__file__).resolve().parents[2] / "gpuwright" / "facts" / "probe.sh"
GPU = "0000:43:00.0"
GIB = 1024**3


def probe(tree: Path, *shell: str, programs: Path | None = None) -> str:
    """What the script says of `tree`; `programs` is a directory whose programs are found first."""
    command = [*(shell or ("sh",)), str(PROBE), str(tree)]
    path = f"{programs}:{os.environ['PATH']}" if programs else os.environ["PATH"]
    result = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "PATH": path}
    )
    return result.stdout


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return server(tmp_path / "tree")


@pytest.fixture
def facts(tree: Path) -> HostFacts:
    return parse(probe(tree))


def test_the_machine(facts: HostFacts) -> None:
    assert (facts.os_id, facts.os_version, facts.arch, facts.init) == ("debian", "13", "x86_64", "systemd")
    assert facts.machine == Machine("Supermicro", "AS -4125GS-TNRT", "H13DSG-O-CPU")
    assert (facts.cpus, facts.cpu_vendor, facts.cpu_family) == (2, "AuthenticAMD", 25)
    assert (facts.virtualisation, facts.memory_bytes) == ("none", 527843656 * 1024)
    assert facts.boot == Boot("uefi", "grub", "enabled", "lvm")
    assert [(disk.name, disk.bytes) for disk in facts.disks] == [("nvme0n1", 2000 * 512)]


def test_gpus_behind_a_switch_with_acs(facts: HostFacts) -> None:
    gpu = facts.gpus[0]
    assert [each.address for each in facts.gpus] == [GPU, "0000:44:00.0"]
    assert gpu.parents == ("0000:40:01.1", "0000:41:00.0", "0000:42:00.0")
    assert gpu.bars == (16 * 1024**2, 32 * GIB, 0, 32 * 1024**2, 0, 0)
    assert (gpu.numa, gpu.link_speed_max, gpu.link_width_max) == (1, 16.0, 16)
    assert {each.address: each.acs for each in facts.pci if each.class_code == "060400"} == {
        "0000:40:01.1": True,
        "0000:41:00.0": False,
        "0000:42:00.0": True,
        "0000:42:01.0": True,
    }
    links = {each.address: each for each in facts.readings.links}
    assert links[GPU] == LinkNow(GPU, "nvidia", 2.5, 16, "40")
    assert links["0000:40:01.1"].acs_control == "001d"


def test_what_else_is_on_the_bus(facts: HostFacts) -> None:
    others = {each.address for each in facts.pci if each.class_code[:2] not in ("06",)} - {
        GPU,
        "0000:44:00.0",
    }
    # no sound, no other vendor's bridge, no virtual function
    assert others == {"0000:05:00.0", "0000:61:00.0"}
    assert [each.address for each in facts.pci if each.boot_display] == ["0000:05:00.0"]
    assert facts.nics == (
        Nic("bond0", default_route=True),
        Nic("ibp97s0", "0000:61:00.0", "mlx5_core", "mlx5_0"),
    )


def test_what_earlier_hands_left(facts: HostFacts) -> None:
    found = facts.found
    assert found.drivers == (
        Driver("nvidia", "550.163.01", "open", "package", True),
        Driver("amdgpu", "", "in-tree", "kernel", False),
        Driver("nouveau", "", "in-tree", "kernel", False),
    )
    assert found.packages == (
        InstalledPackage("linux-image-amd64", "6.12.94-1"),
        InstalledPackage("nvidia-open-kernel-dkms", "550.163.01-2"),
        InstalledPackage("podman-docker", "5.4.2+ds1-2"),
    )
    assert [(each.release, each.running, each.headers) for each in found.kernels] == [
        ("6.12.94+deb13-amd64", True, True),
        ("7.2.12+deb13-amd64", False, False),
    ]
    assert [dict(each.config)["PCI_P2PDMA"] for each in found.kernels] == ["n", "y"]
    assert [dict(each.config)["HSA_AMD_P2P"] for each in found.kernels] == ["n", "n"]
    assert found.leftovers == (
        Leftover("conda-cuda", "/opt/miniconda3"),
        Leftover("podman-docker", "package 5.4.2+ds1-2"),
        Leftover("rocm-legacy", "/opt/rocm-6.2.0"),
    )


def test_readings(facts: HostFacts) -> None:
    readings = facts.readings
    assert readings.kernel_release == "6.12.94+deb13-amd64"
    assert readings.cmdline.endswith("iommu=pt")
    assert readings.iommu_groups == 5
    assert (readings.shm_bytes, readings.boot_free_bytes) == (263921828 * 1024, 706608 * 1024)
    assert readings.dkms == ("nvidia-current-open/550.163.01 6.12.94+deb13-amd64",)
    assert readings.apt_sources == (
        "http://mirror.example/cuda /",
        "https://mirror.example/debian trixie main non-free",
        "https://mirror.example/debian trixie-backports main non-free",
    )
    assert readings.pins == ("*: release l=cuda = 600",)
    assert readings.holds == ("linux-image-amd64",)
    assert readings.firmware == ("amdgpu/gc_11_0_0_mes.bin.zst", "nvidia/550.163.01/gsp_ga10x.bin")
    assert readings.serials == (("product_serial", SERIAL), ("mac-ibp97s0", MAC))
    assert readings.denied == ()


def test_output_cut_off_after_any_line_is_never_a_host(tree: Path) -> None:
    lines = probe(tree).splitlines()
    for count in range(1, len(lines)):
        with pytest.raises(GpuwrightError):
            parse("\n".join(lines[:count]))


def test_no_credential_leaves_the_host(tree: Path) -> None:
    assert "mirror.example/debian" in probe(tree)
    assert "secret" not in probe(tree)


@pytest.mark.parametrize(
    "shell", [("dash",), ("bash", "--posix"), ("busybox", "sh")], ids=lambda shell: shell[0]
)
def test_every_shell_reads_the_same(tree: Path, shell: tuple[str, ...]) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"{shell[0]} is not installed")
    assert probe(tree, *shell) == probe(tree)


def test_64_bytes_of_configuration_are_no_answer_about_acs(tree: Path) -> None:
    bridge = tree / "sys/bus/pci/devices/0000:40:01.1"
    write(bridge / "config", config(size=64))
    facts = parse(probe(tree))
    assert {each.address: each.acs for each in facts.pci}["0000:40:01.1"] is None
    assert facts.readings.denied == ("ACS of bridges",)
    write(bridge / "config", config(size=256))  # conventional PCI has no such capability
    facts = parse(probe(tree))
    assert {each.address: each.acs for each in facts.pci}["0000:40:01.1"] is False
    assert facts.readings.denied == ()


@pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None, reason="needs a user who is not root"
)
def test_what_a_user_may_not_read_is_denied_and_not_absent(tree: Path) -> None:
    serial = tree / "sys/class/dmi/id/product_serial"
    for path in (serial, tree / "var/lib/dpkg/status", tree / "boot/config-6.12.94+deb13-amd64"):
        path.chmod(0)
    (tree / "boot/efi").chmod(0)
    user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups") if os.geteuid() == 0 else ()
    for parent in (tree, *tree.parents):  # pytest's directories are their owner's alone
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    facts = parse(probe(tree, *user, "sh"))
    assert set(facts.readings.denied) == {
        "/sys/class/dmi/id/product_serial",
        "/var/lib/dpkg/status",
        "/boot/config-6.12.94+deb13-amd64",
        "/boot/efi",
    }
    assert facts.found.packages == ()
    assert facts.found.kernels[0] == Kernel("6.12.94+deb13-amd64", True, True, ())
    assert facts.boot.loader == "grub"


@pytest.mark.parametrize(
    ("mounts", "block", "expected"),
    [
        ("25 1 8:2 / / rw - ext4 /dev/sda2 rw", {}, "plain"),
        ("25 1 9:0 / / rw - ext4 /dev/md0 rw", {"md/level": "raid1"}, "md"),
        ("25 1 254:0 / / rw - ext4 /dev/dm-0 rw", {"dm/uuid": "CRYPT-LUKS2-1"}, "plain"),
        (
            "25 1 254:0 / / rw - ext4 /dev/dm-0 rw",
            {"dm/uuid": "CRYPT-LUKS2-1", "slaves/dm-1/dm/uuid": "LVM-1"},
            "lvm",
        ),
        ("25 1 0:30 / / rw shared:1 - btrfs /dev/sda2 rw", {}, "btrfs"),
        ("25 1 0:31 / / rw - zfs rpool rw\n26 25 8:1 / /boot rw - ext4 /dev/sda1 rw", {}, "plain"),
        ("25 1 0:99 / / rw - overlay overlay rw", {}, "unknown"),
        ("", {}, "unknown"),
        ("25 1 8:2 / / rw", {}, "unknown"),
    ],
)
def test_what_grub_can_write_to(tree: Path, mounts: str, block: dict[str, str], expected: str) -> None:
    write(tree / "proc/self/mountinfo", mounts + "\n")
    device = tree / "sys/dev/block" / (mounts.splitlines() or ["25 1 8:1"])[-1].split()[2]
    device.mkdir(parents=True, exist_ok=True)
    for name, text in block.items():
        write(device / name, text + "\n")
    assert parse(probe(tree)).boot.grubenv == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(b"\6\0\0\0\1", "enabled"), (b"\6\0\0\0\0", "disabled"), (b"", "unknown"), (None, "unsupported")],
)
def test_secure_boot(tree: Path, value: bytes | None, expected: str) -> None:
    (variable,) = (tree / "sys/firmware/efi/efivars").iterdir()
    write(tree / "sys/firmware/efi/efivars/Boot0000-8be4df61-93ca-11d2-aa0d-00e098032b8c", b"\7\0\0\0")
    variable.unlink()
    if value is not None:
        write(variable, value)
    assert parse(probe(tree)).boot.secure_boot == expected


def test_secure_boot_is_unknown_where_no_variable_can_be_seen(tree: Path) -> None:
    (variable,) = (tree / "sys/firmware/efi/efivars").iterdir()
    variable.unlink()
    assert parse(probe(tree)).boot.secure_boot == "unknown"


def test_a_run_file_is_seen_by_its_uninstaller_or_by_files_of_no_package(tree: Path) -> None:
    write(tree / "var/log/nvidia-installer.log", "")
    assert "nvidia-run" not in {each.kind for each in parse(probe(tree)).found.leftovers}
    write(tree / "usr/bin/nvidia-smi", "")
    found = parse(probe(tree)).found
    assert Leftover("nvidia-run", "/var/log/nvidia-installer.log") in found.leftovers
    assert found.drivers[0].origin == "run"
    write(tree / "var/lib/dpkg/info/nvidia-utils-580.list", "/usr/bin/nvidia-smi\n")
    assert "nvidia-run" not in {each.kind for each in parse(probe(tree)).found.leftovers}
    write(tree / "usr/bin/nvidia-uninstall", "")
    assert Leftover("nvidia-run", "/usr/bin/nvidia-uninstall") in parse(probe(tree)).found.leftovers


def test_a_driver_that_is_not_loaded_is_asked_by_its_file(tree: Path, tmp_path: Path) -> None:
    shutil.rmtree(tree / "sys/module/nvidia")
    shutil.rmtree(tree / "proc/driver")
    by_name = parse(probe(tree)).found.drivers[0]
    assert by_name == Driver(
        "nvidia", "550.163.01", "open", "package", False
    )  # Debian's name, and dkms's directory
    write(tree / "lib/modules/6.12.94+deb13-amd64/modules.dep", "updates/dkms/nvidia.ko.zst:\n")
    modinfo = tmp_path / "bin" / "modinfo"
    write(
        modinfo,
        "#!/bin/sh\necho filename: $1\necho version: 580.95.05\n"
        "echo 'license:        NVIDIA'\necho description: version: 1\n",
    )
    modinfo.chmod(0o755)
    by_file = parse(probe(tree, programs=modinfo.parent)).found.drivers[0]
    assert by_file == Driver("nvidia", "580.95.05", "proprietary", "package", False)
    modinfo.write_text("#!/bin/sh\necho ERROR >&2\nexit 1\n")
    assert parse(probe(tree, programs=modinfo.parent)).found.drivers[0].version == ""


def test_a_board_with_a_device_tree_has_a_name(tree: Path) -> None:
    shutil.rmtree(tree / "sys/class/dmi")
    write(tree / "proc/device-tree/model", b"NVIDIA Jetson AGX Orin Developer Kit\0")
    assert parse(probe(tree)).machine == Machine("", "NVIDIA Jetson AGX Orin Developer Kit", "")


def test_an_empty_tree_is_no_host(tmp_path: Path) -> None:
    with pytest.raises(GpuwrightError, match="no section"):
        parse(probe(tmp_path))


def test_a_tree_that_is_not_there_never_answers_as_this_machine(tmp_path: Path) -> None:
    result = subprocess.run(["sh", PROBE, tmp_path / "none"], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (1, "")
