"""The probe's parser on good, bad, empty, cut off and absent input; the probe itself on a recorded tree."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gpuwright.errors import GpuwrightError
from gpuwright.facts import NVIDIA, HostFacts, parse

ROOT = Path(__file__).resolve().parents[2]
PROBE = ROOT / "gpuwright" / "facts" / "probe.sh"
H200 = (ROOT / "tests" / "fixtures" / "probe_h200.txt").read_text()


def test_a_recorded_gpu_machine() -> None:
    facts = parse(H200)
    assert (facts.os_id, facts.os_version, facts.os_codename) == ("ubuntu", "24.04", "noble")
    assert [(gpu.address, gpu.device) for gpu in facts.gpus] == [("0000:00:06.0", "2335")]
    assert facts.memory_bytes == 131981020 * 1024
    assert facts.virtualisation == "unknown"  # no systemd-detect-virt there: absent evidence is not "none"


def test_json_gives_the_same_facts_back() -> None:
    assert HostFacts.from_json(parse(H200).to_json()) == parse(H200)


@pytest.mark.parametrize("text", ["", "garbage\n", "@@begin arch\nx86_64\n@@end arch 0\n"])
def test_what_is_no_probe_output_is_refused(text: str) -> None:
    with pytest.raises(GpuwrightError, match="no section"):
        parse(text)


@pytest.mark.parametrize("lines", range(1, len(H200.splitlines())))
def test_output_cut_off_after_any_line_is_never_a_host(lines: int) -> None:
    with pytest.raises(GpuwrightError):
        parse("\n".join(H200.splitlines()[:lines]))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("MemTotal:       131981020 kB", "MemTotal: lots", "without a number"),
        ("0x030200 0x10de 0x2335", "0x030200 0x10de", "PCI line"),
        ("vda 274877906944 1", "vda big 1", "disk line"),
        ("@@end memory 0", "@@end memory 1", "no section memory"),
    ],
)
def test_a_damaged_section_is_named(old: str, new: str, message: str) -> None:
    assert old in H200
    with pytest.raises(GpuwrightError, match=message):
        parse(H200.replace(old, new))


def test_the_probe_reads_a_recorded_tree(tmp_path: Path) -> None:
    write(
        tmp_path / "etc/os-release",
        'ID=debian\nVERSION_ID="13"\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n',
    )
    write(tmp_path / "arch", "x86_64\n")
    write(tmp_path / "virtualisation", "none\n")
    write(tmp_path / "proc/meminfo", "MemTotal:       65806824 kB\nMemFree: 1 kB\n")
    write(tmp_path / "proc/cpuinfo", "processor\t: 0\nprocessor\t: 1\n")
    write(tmp_path / "sys/block/nvme0n1/size", "2000\n")
    write(tmp_path / "sys/block/nvme0n1/queue/rotational", "0\n")
    write(tmp_path / "sys/block/loop0/size", "1\n")
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    (tmp_path / "sys/firmware/efi").mkdir(parents=True)
    (tmp_path / "boot/grub").mkdir(parents=True)
    for address, class_code, vendor in [
        ("0000:01:00.0", "0x030000", "0x10de"),
        ("0000:02:00.0", "0x010802", "0x144d"),
    ]:
        for name, value in {"class": class_code, "vendor": vendor, "device": "0x2684"}.items():
            write(tmp_path / "sys/bus/pci/devices" / address / name, value + "\n")
        for name in ("subsystem_vendor", "subsystem_device"):
            write(tmp_path / "sys/bus/pci/devices" / address / name, "0x1043\n")
    text = subprocess.run(["sh", PROBE, tmp_path], check=True, capture_output=True, text=True).stdout
    facts = parse(text)
    assert [(d.address, d.vendor, d.class_code) for d in facts.display] == [
        ("0000:01:00.0", NVIDIA, "030000")
    ]
    assert [(disk.name, disk.bytes) for disk in facts.disks] == [("nvme0n1", 2000 * 512)]
    assert (facts.cpus, facts.init, facts.boot.firmware, facts.boot.loader) == (2, "systemd", "uefi", "grub")


def test_the_probe_says_what_a_tree_lacks(tmp_path: Path) -> None:
    text = subprocess.run(["sh", PROBE, tmp_path], check=True, capture_output=True, text=True).stdout
    with pytest.raises(GpuwrightError, match="no section"):
        parse(text)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
