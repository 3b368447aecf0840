"""What drivers say in the kernel's log: faults of cards, faults of programs, and libraries of another version."""

from __future__ import annotations

import re

import pytest

from gpuwright.verify import kernel_log
from tests.unit.test_verify_driver import NVIDIA

STAMP = "[25492.493530] "


def xid(number: int, address: str = "0000:41:00") -> str:
    return f"{STAMP}NVRM: Xid (PCI:{address}): {number}, pid=1234, name=python3, something"


def mismatch(library: str, module: str) -> str:
    return (
        f"{STAMP}NVRM: API mismatch: the client 'nvidia-smi' (pid 4711)\n"
        f"{STAMP}NVRM: has the version {library}, but\n"
        f"{STAMP}NVRM: this kernel module has the version {module}.  Please\n"
    )


LOADED = NVIDIA.facts.found.drivers[0].version


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("", "pass"),
        (xid(31), "pass"),
        (xid(79), "fail"),
        (xid(48), "fail"),
        (xid(119), "fail"),
        (xid(63), "fail"),
        (xid(9999), "unknown"),
        ("NVRM: GPU at PCI:0000:41:00: GPU-0b11d014-1685-04bd-26ed-5fc0bc1c44ae", "pass"),
        ("NVRM: GPU 0000:41:00.0: GPU has fallen off the bus.", "fail"),
        ("amdgpu 0000:03:00.0: amdgpu: GPU reset begin!", "fail"),
    ],
)
def test_a_line_and_its_verdict(line: str, status: str) -> None:
    statuses = NVIDIA.statuses("driver.faults", kernel_log=f"whole\n{line}")
    assert (statuses - {"pass"} or {"pass"}) == {status}


def test_a_fault_names_the_card_and_how_often() -> None:
    text = "\n".join(("whole", xid(79), xid(79), xid(13)))
    verdicts = [v for v in NVIDIA.judge("driver.faults", kernel_log=text) if v.status != "pass"]
    (verdict,) = verdicts
    assert verdict.subject == "0000:41:00"
    assert "Xid 79" in verdict.observed and "2 times" in verdict.observed
    assert "reboot once" in verdict.action


def test_faults_of_programs_are_told_and_pass() -> None:
    (verdict,) = NVIDIA.judge("driver.faults", kernel_log=f"whole\n{xid(13)}\n{xid(31)}")
    assert verdict.status == "pass"
    assert "Xid 13" in verdict.observed and "Xid 31" in verdict.observed


def test_a_log_that_lost_its_start_says_so() -> None:
    (verdict,) = NVIDIA.judge("driver.faults", kernel_log="cut")
    assert verdict.status == "pass"
    assert "what is left" in verdict.observed


@pytest.mark.parametrize("text", [None, "", "who knows"])
def test_a_log_that_could_not_be_read_is_unknown(text: str | None) -> None:
    assert NVIDIA.statuses("driver.faults", kernel_log=text) == {"unknown"}
    assert NVIDIA.statuses("driver.clients", kernel_log=text) == {"unknown"}


def test_a_program_with_other_libraries_is_named() -> None:
    (verdict,) = NVIDIA.judge("driver.clients", kernel_log=f"whole\n{mismatch('550.54.14', LOADED)}")
    assert verdict.status == "fail"
    assert verdict.observed == "nvidia-smi: 550.54.14"


def test_what_was_said_of_a_module_that_is_gone_is_over() -> None:
    log = f"whole\n{mismatch('580.126.09', '535.274.02')}"
    assert NVIDIA.statuses("driver.clients", kernel_log=log) == {"pass"}


def test_a_host_filters_for_every_line_that_is_read_here() -> None:
    """grep -E and Python read the patterns alike, as far as they are used here."""
    pattern = re.compile(kernel_log.patterns())
    lines = [*xid(79).splitlines(), *mismatch("1.2", "3.4").splitlines()]
    assert all(pattern.search(line) for line in lines)
    assert not pattern.search("NVRM: loading NVIDIA UNIX Open Kernel Module")
