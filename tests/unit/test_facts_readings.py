"""Readings on good, bad and missing input, and what is redacted of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpuwright.errors import GpuwrightError
from gpuwright.facts import HostFacts
from gpuwright.facts.model import Leftover, Nic, Readings
from gpuwright.facts.redact import redacted, redacted_text
from tests.probed import MAC, facts


def test_readings_that_could_not_be_had() -> None:
    sections = dict.fromkeys(("kernel", "iommu", "space", "apt", "firmware", "engines", "serials"), "!")
    assert facts(**sections).readings == Readings()


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (
            "sources.list",
            "deb http://mirror.example/debian trixie main contrib",
            ("http://mirror.example/debian trixie main contrib",),
        ),
        (
            "sources.list.d/a.list",
            "deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/x /",
            ("http://mirror.example/x /",),
        ),
        ("sources.list", "deb-src http://mirror.example/debian trixie main\ndeb wrong", ()),
        ("sources.list.d/a.sources", "Types: deb-src\nURIs: http://a.example\nSuites: x", ()),
        ("sources.list.d/a.sources", "Types: deb\nURIs: http://a.example\nSuites: x\nEnabled: no", ()),
        (
            "sources.list.d/a.sources",
            "Types: deb\nURIs: http://a.example\n http://b.example\nSuites: x\n\n\n"
            "Types: deb\nURIs: http://c.example\nSuites: ./",
            ("http://a.example x", "http://b.example x", "http://c.example ./"),
        ),
        ("sources.list.d/a.sources", " lost\nno colon\nTypes: deb", ()),
    ],
)
def test_apt_sources(path: str, text: str, expected: tuple[str, ...]) -> None:
    assert facts(apt=f"file /etc/apt/{path}\n{text}").readings.apt_sources == expected


def test_pins() -> None:
    text = "file /etc/apt/preferences.d/a\nPackage: nvidia-*\nPin: version 580.*\nPin-Priority: 1001\n\nPackage: b"
    assert facts(apt=text).readings.pins == ("nvidia-*: version 580.* = 1001", "b:  = ")


def test_space_of_busybox_and_of_a_path_with_spaces() -> None:
    rows = "path /dev/shm\nFilesystem 1024-blocks Used Available Capacity Mounted on\n{}"
    for row in ("tmpfs 64 0 64 0% /dev/shm", "a name 64 0 64 - /dev/shm and more"):
        assert facts(space=rows.format(row)).readings.shm_bytes == 65536
    for damaged in ("path /boot\n/dev/sda1 9", "/dev/sda1 9 1 8 12%"):
        with pytest.raises(GpuwrightError, match="df line"):
            facts(space=damaged)


def test_dkms_by_kernel() -> None:
    text = "nvidia/580.65.06\nnvidia/580.65.06/6.8.0-52-generic/x86_64\namdgpu/6.16.13"
    assert facts(dkms=text).readings.dkms == ("amdgpu/6.16.13 added", "nvidia/580.65.06 6.8.0-52-generic")


def test_engines_with_and_without_a_package() -> None:
    read = facts(packages="package docker.io 26.1.5\npackage dkms 3.2", engines="/usr/local/bin/dockerd")
    assert read.readings.engines == ("docker.io 26.1.5", "/usr/local/bin/dockerd")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quiet iommu=pt pci=disable_acs_redir=pci:12d8:2308", None),
        ("root=UUID=0d5f2f3c-7a0a-4d7e-9e55-6f3a1b0f6c11 ro", None),
        (
            "https://user:secret@mirror.example/debian trixie main",
            "https://mirror.example/debian trixie main",
        ),
        (f"BOOTIF=01-{MAC.replace(':', '-')} quiet", "BOOTIF=redacted quiet"),
        (f"ip=dhcp ifname=eth0:{MAC}", "ip=dhcp ifname=eth0:redacted"),
        ("ds.token=abc rd.luks.key=/k x", "ds.token=redacted rd.luks.key=redacted x"),
        ("roothash=" + "0af1" * 16, "roothash=redacted"),
        ("bond=enx0c42a1b2c3d4", "bond=enxredacted"),
        ("nvidia/550.163.01 6.12.94+deb13-amd64 0000:41:00.0 10.0.0.1", None),
    ],
)
def test_redacted_text(text: str, expected: str | None) -> None:
    assert redacted_text(text) == (text if expected is None else expected)


def test_redaction_keeps_the_plan_inputs_and_is_stable() -> None:
    usb = Nic("enx0c42a1b2c3d4", "", "cdc_ether")
    seen = facts(
        kernel="release 6.1.0\ncmdline quiet api_key=abc",
        nics="route eth0",
        serials=f"product_serial JX55XN3\nmac-eth0 {MAC}\nmac-{usb.name} 0c:42:a1:b2:c3:d4",
    )
    seen = replace(
        seen, nics=(*seen.nics, usb), found=replace(seen.found, leftovers=(Leftover("conda-cuda", "/opt"),))
    )
    shown = redacted(seen)
    assert shown.readings.serials == (
        ("product_serial", "redacted"),
        ("mac-eth0", "redacted"),
        ("mac-enxredacted1", "redacted"),
    )
    assert [nic.name for nic in shown.nics] == ["eth0", "enxredacted1"]
    assert shown.readings.cmdline == "quiet api_key=redacted"
    assert redacted(shown) == shown == HostFacts.from_json(shown.to_json())
    assert replace(shown, nics=seen.nics, readings=seen.readings) == seen
    for secret in ("JX55XN3", MAC, "0c42a1b2c3d4", "abc"):
        assert secret not in shown.to_json()
