"""The frame of the probe's text, what every host must have, and that no text at all ends in a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuwright.errors import GpuwrightError
from gpuwright.facts import HostFacts, parse
from gpuwright.facts.model import Boot, Driver, Found, Machine
from tests.probed import LEAST, facts, framed

ROOT = Path(__file__).resolve().parents[2]
H200 = (ROOT / "tests" / "fixtures" / "probe_h200x4.txt").read_text()
FULL = framed(
    kernel="release 6.8.0-52-generic\ncmdline quiet",
    machine="sys_vendor Supermicro\nproduct_name AS -4125GS-TNRT",
    pci="0000:40:01.1 0x060400 0x1022 0x14ab 0x1022 0x1453 path=/sys/devices/pci0000:40/0000:40:01.1\n"
    "0000:41:00.0 0x030200 0x10de 0x2335 0x10de 0x18bf path=/sys/devices/pci0000:40/0000:40:01.1/0000:41:00.0 "
    "numa_node=1 max_link_speed=32.0 max_link_width=16 driver=nvidia iommu_group=4 bars=0x10-0x1f,0x0-0x0,",
    acs="0000:40:01.1 001d",
    iommu="12",
    nics="nic eth0 /sys/devices/pci0000:00/0000:00:03.0/virtio2 virtio_net\nroute eth0",
    virtualisation="none",
    drivers="loaded nvidia 580.65.06\nnvrm NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06\n"
    "file kernel/nvidia-580-open/nvidia.ko",
    packages="package linux-modules-nvidia-580-open-generic 6.8.0-52.53\nhold linux-generic",
    kernels="kernel 6.8.0-52-generic yes\nconfig 6.8.0-52-generic\nset 6.8.0-52-generic PCI_P2PDMA y",
    dkms="nvidia/580.65.06",
    leftovers="rocm-legacy /opt/rocm-6.2.0",
    space="path /boot\nFilesystem 1024-blocks Used Available Capacity Mounted on\n/dev/sda1 9 1 8 12% /boot",
    apt="file /etc/apt/sources.list\ndeb http://mirror.example/ubuntu noble main",
    serials="product_serial 123",
)


def test_a_recorded_gpu_machine() -> None:
    facts = parse(H200)
    assert (facts.os_id, facts.os_version, facts.os_codename) == ("ubuntu", "24.04", "noble")
    assert [gpu.address for gpu in facts.gpus] == [f"0000:00:0{slot}.0" for slot in (6, 7, 8, 9)]
    assert {(gpu.device, gpu.bars[2], gpu.link_speed_max) for gpu in facts.gpus} == {
        ("2335", 256 * 2**30, 32)
    }
    assert facts.found.drivers == (Driver("nvidia", "580.159.04", "open", "outside", True),)
    assert facts.memory_bytes == 528231220 * 1024
    assert facts.virtualisation == "unknown"  # no systemd-detect-virt there: absent evidence is not "none"


def test_what_a_host_may_lack_is_unknown_or_nothing() -> None:
    bare = facts()
    assert (bare.machine, bare.nics, bare.found) == (Machine(), (), Found())
    assert (bare.virtualisation, bare.readings.iommu_groups, bare.readings.shm_bytes) == (
        "unknown",
        None,
        None,
    )
    assert facts(boot="firmware bios\nloader none").boot == Boot("bios", "none", "unknown", "unknown")
    assert (facts(cpus="4").cpu_vendor, facts(cpus="4").cpu_family) == ("", None)
    assert (facts(cpus="4\n0x41").cpu_vendor, facts(cpus="4\n0x41").cpu_family) == ("0x41", None)


@pytest.mark.parametrize("name", LEAST)
def test_what_every_host_has_is_required(name: str) -> None:
    with pytest.raises(GpuwrightError, match=f"no section {name}"):
        parse(framed(**{name: "!"}))
    without = (
        framed().replace(f"@@begin {name}\n", "@@begin other\n").replace(f"@@end {name} ", "@@end other ")
    )
    with pytest.raises(GpuwrightError, match=f"no section {name}"):
        parse(without)


@pytest.mark.parametrize("text", ["", "garbage\n", "@@begin arch\nx86_64\n@@end arch 0\n"])
def test_what_is_no_probe_output_is_refused(text: str) -> None:
    with pytest.raises(GpuwrightError, match="no section"):
        parse(text)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"memory": "MemTotal: lots"}, "without a number"),
        ({"memory": ""}, "without a number"),
        ({"cpus": "many"}, "without a number"),
        ({"cpus": ""}, "without a number"),
        ({"cpus": "²"}, "without a number"),
        ({"cpus": "4\nAuthenticAMD 25 x"}, "processor line"),
        ({"arch": ""}, "section arch"),
        ({"init": "a\nb"}, "section init"),
        ({"boot": "firmware"}, "line 'firmware' of boot"),
        ({"boot": "firmware uefi"}, "boot without firmware or loader"),
        ({"disks": "vda big 1"}, "disk line"),
        ({"disks": "vda 1 2"}, "disk line"),
        ({"machine": "sys_vendor"}, "of machine"),
    ],
)
def test_a_damaged_section_is_named(sections: dict[str, str], message: str) -> None:
    with pytest.raises(GpuwrightError, match=message):
        facts(**sections)


def test_a_section_inside_another_is_a_cut() -> None:
    with pytest.raises(GpuwrightError, match="section memory has no end"):
        parse(framed().replace("@@end memory 0\n", ""))
    with pytest.raises(GpuwrightError, match="section memory has no end"):
        parse(framed().replace("@@end memory 0\n@@begin cpus\n", ""))


def test_denied_is_kept_apart_from_the_section_it_stands_in() -> None:
    machine = facts(machine="sys_vendor Dell Inc.\n@@denied /sys/class/dmi/id/product_serial")
    assert machine.machine.vendor == "Dell Inc."
    assert machine.readings.denied == ("/sys/class/dmi/id/product_serial",)


@pytest.mark.parametrize("text", [H200, FULL], ids=["h200", "full"])
def test_json_gives_the_same_facts_back(text: str) -> None:
    assert HostFacts.from_json(parse(text).to_json()) == parse(text)


@pytest.mark.parametrize("text", [H200, FULL], ids=["h200", "full"])
def test_output_cut_off_after_any_line_is_never_a_host(text: str) -> None:
    lines = text.splitlines()
    for count in range(1, len(lines)):
        with pytest.raises(GpuwrightError):
            parse("\n".join(lines[:count]))


@settings(deadline=None)  # a loaded machine is no error
@given(st.data())
def test_no_mutation_of_the_text_ends_in_a_traceback(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([H200, FULL]))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.sampled_from([0, 1, 2, 8, 64])))
        piece = data.draw(
            st.one_of(
                st.text(max_size=8),
                st.sampled_from(
                    ["\n", " ", "-", "=", "0x", "9" * 5000, "\u2028", "\ud800", text[start:][:40]]
                ),
            )
        )
        text = text[:start] + piece + text[end:]
    try:
        facts = parse(text)
    except GpuwrightError:
        return
    assert HostFacts.from_json(facts.to_json()) == facts


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(FULL.splitlines()), st.integers(0, 3)), max_size=60))
def test_no_shuffle_of_lines_ends_in_a_traceback(lines: list[tuple[str, int]]) -> None:
    text = framed() + "\n".join(line[cut:] for line, cut in lines)
    try:
        parse(text)
    except GpuwrightError:
        return
