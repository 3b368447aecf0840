"""Drivers, packages, kernels and leftovers on good, bad and missing input."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gpuwright.errors import GpuwrightError
from gpuwright.facts.model import Driver, Found, Kernel, Leftover
from gpuwright.facts.parse_found import SYMBOLS
from tests.probed import facts

PROBE = Path(__file__).resolve().parents[2] / "gpuwright" / "facts" / "probe.sh"
OPEN = "nvrm NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build"
CLOSED = "nvrm NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.309.01  Release Build"
RELEASE = "kernel"


def drivers(text: str, **sections: str) -> tuple[Driver, ...]:
    return facts(drivers=text, kernel=f"release {RELEASE}", **sections).found.drivers


@pytest.mark.parametrize(
    ("text", "sections", "expected"),
    [
        ("", {}, ()),
        ("no modules", {}, ()),
        (
            f"loaded nvidia 580.159.04\n{OPEN}\nfile updates/dkms/nvidia.ko",
            {"packages": "package nvidia-kernel-open-dkms 580.159.04-1"},
            (Driver("nvidia", "580.159.04", "open", "package", True),),
        ),
        (
            f"loaded nvidia 535.309.01\n{CLOSED}\nfile updates/dkms/nvidia-current.ko",
            {"packages": "package libnvidia-ml1 535.309.01-1"},
            (Driver("nvidia", "535.309.01", "proprietary", "unknown", True),),
        ),
        (
            f"loaded nvidia 580.159.04\n{OPEN}",
            {
                "leftovers": "nvidia-run /usr/bin/nvidia-uninstall",
                "packages": "package nvidia-dkms-580 580.1",
            },
            (Driver("nvidia", "580.159.04", "open", "run", True),),
        ),
        (
            f"loaded nvidia 580.159.04\n{OPEN}\nno modules",
            {},
            (Driver("nvidia", "580.159.04", "open", "outside", True),),
        ),
        (
            f"loaded nvidia 580.159.04\n{OPEN}\nfile kernel/nvidia-580-open/nvidia.ko",
            {"virtualisation": "docker"},
            (Driver("nvidia", "580.159.04", "open", "outside", True),),
        ),
        ("loaded nvidia", {}, (Driver("nvidia", "", "unknown", "unknown", True),)),
        (
            "file kernel/nvidia-580srv-open/nvidia.ko.zst\nversion:        580.95.05\nlicense:        Dual MIT/GPL",
            {"packages": "package linux-modules-nvidia-580-server-open-generic 6.8"},
            (Driver("nvidia", "580.95.05", "open", "package", False),),
        ),
        (
            "file kernel/drivers/video/nvidia.ko\nversion: 470.256.02\nlicense: NVIDIA",
            {},
            (Driver("nvidia", "470.256.02", "proprietary", "unknown", False),),
        ),
        ("file updates/dkms/nvidia.ko.xz", {}, (Driver("nvidia", "", "unknown", "unknown", False),)),
        (
            "file updates/dkms/nvidia-current-open.ko.xz",
            {
                "dkms": f"nvidia-current-open/535.1/older/x86_64\nnvidia-current-open/550.163.01/{RELEASE}/x86_64"
            },
            (Driver("nvidia", "550.163.01", "open", "unknown", False),),
        ),
        (
            "file updates/dkms/nvidia-tesla-535.ko.xz",
            {},
            (Driver("nvidia", "", "proprietary", "unknown", False),),
        ),
        (
            "loaded amdgpu\nfile kernel/drivers/gpu/drm/amd/amdgpu/amdgpu.ko.xz",
            {},
            (Driver("amdgpu", "", "in-tree", "kernel", True),),
        ),
        (
            "file updates/dkms/amdgpu.ko.zst",
            {
                "packages": "package amdgpu-dkms 1:6.16.13",
                "dkms": f"amdgpu/6.16.13-2341068.24.04/{RELEASE}/x86_64",
            },
            (Driver("amdgpu", "6.16.13-2341068.24.04", "dkms", "package", False),),
        ),
        ("loaded amdgpu 6.16.13", {}, (Driver("amdgpu", "6.16.13", "dkms", "unknown", True),)),
        (
            "loaded nouveau \nfile kernel/drivers/gpu/nova-core/nova-core.ko",
            {},
            (
                Driver("nouveau", "", "in-tree", "kernel", True),
                Driver("nova_core", "", "in-tree", "kernel", False),
            ),
        ),
    ],
)
def test_drivers(text: str, sections: dict[str, str], expected: tuple[Driver, ...]) -> None:
    assert drivers(text, **sections) == expected


def test_kernels_have_every_symbol_or_none() -> None:
    found = facts(
        kernel="release 6.8.0-52-generic",
        kernels="kernel 6.8.0-52-generic yes\nkernel 6.1.0 no\nconfig 6.8.0-52-generic\n"
        "set 6.8.0-52-generic PCI_P2PDMA y\nset 6.8.0-52-generic DRM_AMDGPU m",
    ).found.kernels
    config = tuple((name, {"PCI_P2PDMA": "y", "DRM_AMDGPU": "m"}.get(name, "n")) for name in SYMBOLS)
    assert found == (Kernel("6.1.0", False, False, ()), Kernel("6.8.0-52-generic", True, True, config))


def test_probe_and_parser_look_for_the_same_symbols() -> None:
    pattern = re.search(r"\^CONFIG_\(([A-Z0-9_|]+)\)=", PROBE.read_text())
    assert pattern is not None
    assert set(pattern[1].split("|")) == set(SYMBOLS)


def test_packages_that_are_two_architectures_are_one() -> None:
    found = facts(
        packages="package libcuda1 550.1\npackage libcuda1 550.1\npackage docker.io 26.1\nhold docker.io"
    )
    assert [each.name for each in found.found.packages] == ["docker.io", "libcuda1"]
    assert found.readings.holds == ("docker.io",)


def test_leftovers_of_the_probe_and_of_packages() -> None:
    found = facts(
        leftovers="snap-docker /var/lib/snapd/snaps/docker_2932.snap",
        packages="package podman-docker 5.4.2\npackage amdgpu-install 30.10",
    ).found.leftovers
    assert found == (
        Leftover("amdgpu-install", "package 30.10"),
        Leftover("podman-docker", "package 5.4.2"),
        Leftover("snap-docker", "/var/lib/snapd/snaps/docker_2932.snap"),
    )


@pytest.mark.parametrize("text", ["", "!"])
def test_nothing_and_unread(text: str) -> None:
    sections = dict.fromkeys(("drivers", "packages", "kernels", "leftovers", "dkms"), text)
    assert facts(**sections).found == Found()


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("drivers", "loaded"),
        ("drivers", "file"),
        ("drivers", "unloaded nvidia"),
        ("packages", "package linux-image-amd64"),
        ("packages", "package a b c"),
        ("packages", "hold a b"),
        ("kernels", "kernel 6.1.0"),
        ("kernels", "kernel 6.1.0 perhaps"),
        ("kernels", "set 6.1.0 PCI_P2PDMA y"),
        ("kernels", "config 6.1.0 more"),
        ("leftovers", "nvidia-run"),
        ("leftovers", "unheard-of /opt"),
        ("dkms", "nvidia"),
    ],
)
def test_a_damaged_line_is_an_error(section: str, line: str) -> None:
    with pytest.raises(GpuwrightError, match="line"):
        facts(**{section: line})


def test_the_kernel_that_runs_is_there_although_nothing_of_it_lies_on_the_disk() -> None:
    outside = facts(kernel="release 6.18.44-gpu\ncmdline quiet", kernels="kernel 6.8.0-52-generic yes")
    assert [(kernel.release, kernel.running) for kernel in outside.found.kernels] == [
        ("6.18.44-gpu", True),
        ("6.8.0-52-generic", False),
    ]
    container = facts(kernel="release 6.18.44-gpu\ncmdline quiet", virtualisation="docker")
    assert container.found.kernels == ()
