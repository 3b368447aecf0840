"""PCI functions and network interfaces on good, bad and missing input."""

from __future__ import annotations

import pytest

from gpuwright.errors import GpuwrightError
from gpuwright.facts.model import LinkNow, Nic, PciDevice
from tests.probed import facts

GPU = "0000:41:00.0 0x030200 0x10de 0x2335 0x10de 0x18bf"


def pci(line: str) -> PciDevice:
    (device,) = facts(pci=line).pci
    return device


def test_a_function_of_which_nothing_more_can_be_read() -> None:
    assert pci(GPU) == PciDevice("0000:41:00.0", "030200", "10de", "2335", "10de", "18bf")
    assert pci("0000:41:00.0 0x060400 0x1022 0x14ab - -").subsystem_vendor == ""


def test_functions_come_in_address_order() -> None:
    other = GPU.replace("0000:41", "0000:0a")
    assert [each.address for each in facts(pci=f"{GPU}\n{other}").pci] == ["0000:0a:00.0", "0000:41:00.0"]


@pytest.mark.parametrize(
    ("more", "field", "expected"),
    [
        ("numa_node=-1", "numa", None),
        ("numa_node=1", "numa", 1),
        ("max_link_speed=Unknown", "link_speed_max", None),
        ("max_link_speed=2.5", "link_speed_max", 2.5),
        ("max_link_speed=8", "link_speed_max", 8.0),
        ("max_link_width=255", "link_width_max", None),
        ("max_link_width=0", "link_width_max", None),
        ("max_link_width=16", "link_width_max", 16),
        ("boot_vga=1", "boot_display", True),
        ("boot_vga=0", "boot_display", False),
        ("driver=vfio-pci", "passthrough", True),
        ("driver=nvidia", "passthrough", False),
        ("bars=", "bars", ()),
        ("bars=0x0-0x0,0x1000-0x1fff,0x0-0xffff,", "bars", (0, 4096, 65536)),
        ("bars=0xffffffff00000000-0xffffffffffffffff,", "bars", (1 << 32,)),
        ("path=/sys/devices/pci10000:00/10000:00:01.0/0000:41:00.0", "parents", ("10000:00:01.0",)),
        ("path=/sys/bus/pci/devices/0000:41:00.0", "parents", ()),
    ],
)
def test_what_more_there_is(more: str, field: str, expected: object) -> None:
    assert getattr(pci(f"{GPU} {more}"), field) == expected


@pytest.mark.parametrize(
    "line",
    [
        "0000:41:00.0",
        "0000:41:00.0 0x030200 0x10de",
        "41:00.0 0x030200 0x10de 0x2335 0x10de 0x18bf",
        "0000:41:00.0 0x0302 0x10de 0x2335 0x10de 0x18bf",
        "0000:41:00.0 0x030200 0x10de - 0x10de 0x18bf",
        "0000:41:00.0 0x030200 0x10de 0x2335 0x10de 0xNONE",
        f"{GPU} speed=1",
        f"{GPU} numa_node",
        f"{GPU} bars=0x10,",
        f"{GPU} bars=0x10-0x0f,",
        f"{GPU}\n{GPU}",
    ],
)
def test_a_damaged_line_is_an_error(line: str) -> None:
    with pytest.raises(GpuwrightError, match=r"PCI|BAR"):
        facts(pci=line)


def test_acs_is_unknown_where_it_was_not_read() -> None:
    assert pci(GPU).acs is None
    assert [each.acs for each in facts(pci=GPU, acs="!").pci] == [None]
    read = facts(pci=GPU, acs="0000:41:00.0 none")
    assert (read.pci[0].acs, read.readings.links) == (False, (LinkNow("0000:41:00.0"),))
    read = facts(pci=GPU, acs="0000:41:00.0 0000")
    assert (read.pci[0].acs, read.readings.links[0].acs_control) == (True, "0000")
    for damaged in ("0000:41:00.0", "0000:41:00.0 yes"):
        with pytest.raises(GpuwrightError, match="ACS line"):
            facts(pci=GPU, acs=damaged)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("", ()),
        ("!", ()),
        ("route eth0\nroute eth0", (Nic("eth0", default_route=True),)),
        (
            "nic eth0 /sys/devices/pci0000:00/0000:00:03.0/virtio2 virtio_net\nroute eth0",
            (Nic("eth0", "0000:00:03.0", "virtio_net", "", True),),
        ),
        (
            "nic enx0 /sys/devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0 cdc_ether",
            (Nic("enx0", "", "cdc_ether"),),
        ),
        (
            "nic ib0 /sys/devices/pci0000:60/0000:61:00.0\nrdma mlx5_0 /sys/devices/pci0000:60/0000:61:00.0",
            (Nic("ib0", "0000:61:00.0", "", "mlx5_0"),),
        ),
        ("rdma mlx5_1 /sys/devices/pci0000:60/0000:62:00.0", (Nic("", "0000:62:00.0", "", "mlx5_1"),)),
    ],
    ids=["none", "unread", "container", "virtio", "usb", "rdma", "rdma-alone"],
)
def test_interfaces(lines: str, expected: tuple[Nic, ...]) -> None:
    assert facts(nics=lines).nics == expected


@pytest.mark.parametrize("line", ["nic", "nic eth0", "rdma mlx5_0", "route a b", "bond bond0"])
def test_a_damaged_interface_is_an_error(line: str) -> None:
    with pytest.raises(GpuwrightError, match="network line"):
        facts(nics=line)
