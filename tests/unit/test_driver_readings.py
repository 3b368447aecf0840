"""Readings of the driver roles: apt's sources, holders, kernels that could boot next, and failed builds."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gpuwright.operations import dkms, holders
from gpuwright.operations.archive import Index, Indexes, missing
from gpuwright.operations.next_kernels import parse
from gpuwright.plan.stack_model import ArchiveReach

URI, KEY = "http://archive.example/debian/", "/usr/share/keyrings/debian-archive-keyring.gpg"
MAIN = Index(URI, "trixie", "main", KEY, "/etc/apt/sources.list.d/debian.sources", "Debian")
SECURITY = Index(f"{URI}security/", "trixie-security", "main", KEY, MAIN.file, "Debian")
FOREIGN = Index(
    "http://rocm.example/", "trixie", "main", "/k", "/etc/apt/sources.list.d/rocm.list", "repo.radeon.com"
)
REACH = ArchiveReach("nvidia", "trixie", ("contrib", "non-free"), ())


def test_components_are_taken_from_where_the_release_comes_from() -> None:
    text = missing([MAIN, SECURITY, FOREIGN], REACH)
    assert text is not None
    assert text.count("Components: contrib non-free\n") == 2
    assert f"URIs: {URI}\nSuites: trixie\nComponents: contrib non-free\nSigned-By: {KEY}\n" in text
    assert "rocm.example" not in text


def test_a_suite_comes_with_all_that_the_release_has() -> None:
    text = missing([MAIN], ArchiveReach("kernel", "trixie", (), ("trixie-backports",)))
    assert (
        text == f"\nTypes: deb\nURIs: {URI}\nSuites: trixie-backports\nComponents: main\nSigned-By: {KEY}\n"
    )


def test_what_is_there_is_not_added_again() -> None:
    there = [
        MAIN,
        Index(URI, "trixie", "contrib", KEY, "x", ""),
        Index(URI, "trixie", "non-free", KEY, "x", ""),
    ]
    assert missing(there, REACH) == ""


def test_without_the_archive_nobody_knows_where_to_take_it_from() -> None:
    assert missing([FOREIGN], REACH) is None


def test_names_that_apt_has_no_value_for_are_empty() -> None:
    line = "http://a/\ttrixie\tmain\t$(SIGNED_BY)\t/etc/apt/sources.list:1\t$(ORIGIN)"
    assert Indexes().process([line]) == [
        Index("http://a/", "trixie", "main", "", "/etc/apt/sources.list", "")
    ]


def test_a_process_that_holds_a_device_is_found(tmp_path: Path) -> None:
    device = tmp_path / "nvidia0"
    device.touch()
    with device.open() as held:
        found = subprocess.run(
            ["sh", "-c", holders.FIND, "sh", f"{tmp_path}/nvidia*"],
            capture_output=True,
            text=True,
            check=True,
        )
    assert held.closed
    (holder,) = holders.parse(found.stdout.splitlines())
    assert (holder.pid, holder.devices) == (os.getpid(), (str(device),))


def test_holders_are_named_with_container_and_unit() -> None:
    lines = [
        "41\tpython3\tgpuwright-chat.service\tgpuwright-chat\t/dev/nvidia0",
        "41\tpython3\tgpuwright-chat.service\tgpuwright-chat\t/dev/nvidiactl",
        "77\tnvtop\t\t\t/dev/nvidia0",
    ]
    refusal = holders.refusal("nvidia driver", holders.parse(lines))
    assert "pid 41 python3 (container gpuwright-chat, unit gpuwright-chat.service) holds" in refusal.observed
    assert "pid 77 nvtop holds /dev/nvidia0" in refusal.observed
    assert "systemctl stop gpuwright-chat.service" in refusal.remedy


def test_a_kernel_is_read_from_its_line() -> None:
    line = "6.12.117+deb13-amd64\tplanned newest\tyes\tyes\tyes\tno\t/lib/m/nvidia.ko\t550.1\tDKMS\tnouveau"
    (kernel,) = parse([line])
    assert (kernel.why, kernel.headers, kernel.stale) == (("planned", "newest"), True, False)
    assert (kernel.signer, kernel.rivals) == ("DKMS", ("nouveau",))


def test_a_line_that_was_cut_off_is_no_kernel() -> None:
    with pytest.raises(ValueError, match=r"\S"):
        list(parse(["6.12.117+deb13-amd64\tplanned"]))


def test_the_first_error_of_a_build_is_named_with_its_known_cause() -> None:
    log = [
        "  CC [M]  /var/lib/dkms/nvidia/580/build/nv.o",
        "/var/lib/dkms/nvidia/580/build/nv-pci.c:237:10: error: too few arguments to function 'pci_resize_resource'",
        "make: *** [Makefile:1: all] Error 2",
    ]
    known = (("pci_resize_resource", "pci_resize_resource() takes a fourth argument"),)
    failure = dkms.failure("nvidia/580 does not build for 6.12.117", log, known)
    assert failure.error.startswith("nv-pci.c:237:10: error: too few")
    assert "known cause: pci_resize_resource() takes a fourth argument" in str(failure.refusal("a", "b"))


def test_a_log_without_an_error_says_so() -> None:
    assert dkms.failure("m", ["Killed"], ()).error == "the log names no error"


@pytest.mark.parametrize(
    "name", ["linux-headers-6.12.117+deb13-amd64", "linux-kbuild-6.12.117", "gcc-14-for-host"]
)
def test_a_trial_build_gets_headers_and_compiler(name: str) -> None:
    assert dkms.NEEDED.match(name)


@pytest.mark.parametrize("name", ["linux-image-6.12.117+deb13-amd64", "firmware-nvidia-gsp", "nvidia-smi"])
def test_a_trial_build_leaves_large_packages_out(name: str) -> None:
    assert not dkms.NEEDED.match(name)
