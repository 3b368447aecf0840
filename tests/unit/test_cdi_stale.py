"""When a CDI specification is no longer true of its host, what lies beside it, and when none can be made."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpuwright.operations.cdi_host import read
from gpuwright.operations.cdi_stale import beside, not_ready, stale, unit_amiss
from tests.unit.cdi_host import (
    AFTER,
    AMD,
    AMD_TEXT,
    BEFORE,
    COPY,
    NVIDIA,
    NVIDIA_TEXT,
    UUIDS,
    VERSION,
    Reading,
    amd,
    nvidia,
)
from tests.unit.test_cdi_spec import BY_HAND

OTHER = "580.105.08"
OLDER = NVIDIA_TEXT.replace(VERSION, "550.163.01")
CUT = NVIDIA_TEXT[:700]
CUT_LATER = NVIDIA_TEXT[: NVIDIA_TEXT.index("update-ldcache")]


def reasons(reading: Reading, text: str = NVIDIA_TEXT) -> str:
    return "; ".join(stale(NVIDIA, reading.host(spec=text), NVIDIA.path))


def test_a_specification_that_is_true() -> None:
    assert reasons(nvidia()) == ""
    assert stale(AMD, amd().host(spec=AMD_TEXT), AMD.path) == ()


def test_one_that_is_absent() -> None:
    assert stale(NVIDIA, nvidia().host(), NVIDIA.path) == ("it is not there",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (CUT, "its last line was cut off"),
        ("", "it is empty"),
        (AMD_TEXT, "its kind is amd.com/gpu, not nvidia.com/gpu"),
        (NVIDIA_TEXT[: NVIDIA_TEXT.index("    mounts:")], ""),  # the version is in a hook as well
        (NVIDIA_TEXT[: NVIDIA_TEXT.index("    hooks:")], "it names no library of the driver"),
        (NVIDIA_TEXT[: NVIDIA_TEXT.index("containerEdits:\n    env")], "it does not give /dev/nvidia-uvm"),
        (OLDER, "it is of driver 550.163.01, and 580.95.05 is loaded"),
        (NVIDIA_TEXT.replace("libcuda.so.580.95.05", f"libcuda.so.{OTHER}"), f"of driver {OTHER}, {VERSION},"),
        (NVIDIA_TEXT.replace("        - path: /dev/nvidia-uvm\n", ""), "it does not give /dev/nvidia-uvm"),
        (NVIDIA_TEXT.replace(UUIDS[1], "GPU-0"), f"it lacks GPU 0000:02:00.0 ({UUIDS[1]})"),
    ],
    ids=[
        "cut off", "empty", "another kind", "no mounts", "no hooks", "no common part", "older driver", "two drivers",
        "no uvm", "another card in the slot",
    ],
)  # fmt: skip
def test_one_that_says_something_else(text: str, says: str) -> None:
    assert says in reasons(nvidia(), text)
    assert bool(says) == bool(reasons(nvidia(), text))


def test_a_driver_that_was_changed_under_it() -> None:
    assert f"of driver {VERSION}, and {OTHER} is loaded" in reasons(nvidia().replaced(VERSION, OTHER))


def test_files_that_went_with_the_old_driver() -> None:
    gone = [f"/usr/lib/x86_64-linux-gnu/lib{name}.so.{VERSION}" for name in ("cuda", "nvidia-ml")]
    assert reasons(nvidia().lacking(*gone)) == f"the host has no {gone[0]} and 1 more"
    assert reasons(nvidia().lacking("/run/nvidia-persistenced/socket")).startswith("the host has no /run/")


def test_a_gpu_that_was_added() -> None:
    more = nvidia()
    more = replace(more, rows=(*more.rows, "gpu\t0000:03:00.0\tGPU-new\t/dev/nvidia2"))
    assert reasons(more) == "it lacks GPU 0000:03:00.0 (GPU-new)"


def test_a_gpu_whose_uuid_the_driver_has_not_read_yet_is_known_by_its_node() -> None:
    unread = nvidia().replaced(UUIDS[1], "GPU-????????-????-????-????-????????????")
    assert reasons(unread) == ""
    assert "it lacks GPU 0000:02:00.0" in reasons(unread.replaced("/dev/nvidia1", "/dev/nvidia7"))


def test_partitions_stand_for_their_gpu() -> None:
    assert reasons(nvidia(), NVIDIA_TEXT.replace(UUIDS[1], "MIG-8f6b1d2e")) == ""


@pytest.mark.parametrize("program", ["/usr/bin/nvidia-ctk", "/lib/modules/6.12/updates/dkms/nvidia.ko.xz"])
def test_one_that_is_older_than_what_it_was_made_by(program: str) -> None:
    newer = nvidia().replaced(f"{program}\t{BEFORE}", f"{program}\t{AFTER}")
    assert reasons(newer) == f"it is older than {program}"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "/dev/dri/renderD129\te2\t81\t993",
            "/dev/dri/renderD129\te2\t82\t993",
            "renderD129 has another minor",
        ),
        ("/dev/kfd\tea\t0", "/dev/kfd\teb\t0", "/dev/kfd has another major number"),
        ("/dev/kfd\tea\t0\t993", "/dev/kfd\tea\t0\t105", "/dev/kfd has another group"),
        (
            "0000:43:00.0\t\t/dev/dri/renderD129",
            "0000:43:00.0\t\t/dev/dri/renderD130",
            "it lacks GPU 0000:43:00.0",
        ),
    ],
)
def test_amds_has_numbers_which_may_change(old: str, new: str, says: str) -> None:
    assert says in "; ".join(stale(AMD, amd().replaced(old, new).host(spec=AMD_TEXT), AMD.path))


def test_without_its_driver_nothing_can_be_made() -> None:
    assert not_ready(NVIDIA, nvidia().host()) == ""
    assert not_ready(NVIDIA, nvidia().without("NVRM").host()) == "the driver is not loaded (module nvidia)"
    waits = nvidia().replaced(f"disk\t{VERSION}", f"disk\t{OTHER}")
    assert not_ready(NVIDIA, waits.host()) == f"driver {VERSION} is loaded, and {OTHER} is on the disk"
    assert not_ready(AMD, amd().host()) == ""


@pytest.mark.parametrize(
    ("row", "value", "says"),
    [
        ("enabled", "disabled", "disabled"),
        ("enabled", "masked", "masked"),
        ("no", "yes", "changed on the disk, and not loaded since"),
    ],
)
def test_the_unit_that_makes_it_at_boot(row: str, value: str, says: str) -> None:
    assert unit_amiss(NVIDIA, nvidia().host()) == ""
    assert unit_amiss(NVIDIA, nvidia().replaced(f"service\t{row}", f"service\t{value}").host()) == says
    gone = (
        nvidia().replaced("service\tloaded", "service\tnot-found").replaced("service\tenabled", "service\t")
    )
    assert unit_amiss(NVIDIA, gone.host()) == "not-found"
    assert unit_amiss(AMD, amd().host()) == ""


@pytest.mark.parametrize(
    ("text", "what", "why"),
    [
        (NVIDIA_TEXT, "true", "is a copy that is true of the host"),
        (OLDER, "stale", "it is of driver 550.163.01"),
        (CUT_LATER, "stale", "its last line was cut off"),
        (CUT, "by-hand", "cannot be read: its last line was cut off"),
        (BY_HAND, "by-hand", "was written by hand"),
        (AMD_TEXT, "by-hand", "is of kind amd.com/gpu"),
        ("hello\n", "by-hand", "cannot be read: it is no mapping"),
    ],
    ids=[
        "a fresh copy",
        "a stale copy",
        "a cut copy",
        "cut before it says whose",
        "by hand",
        "another kind",
        "something else",
    ],
)
def test_a_copy(text: str, what: str, why: str) -> None:
    (found,) = beside(NVIDIA, nvidia().host(spec=NVIDIA_TEXT, copy=text))
    assert (found.path, found.what) == (COPY, what)
    assert found.why.startswith(why)


def test_nothing_beside_it() -> None:
    assert beside(NVIDIA, nvidia().host(spec=NVIDIA_TEXT)) == ()
    assert beside(NVIDIA, nvidia().host()) == ()


def test_one_of_another_vendor_is_nobodys_business() -> None:
    assert beside(NVIDIA, nvidia().host(spec=NVIDIA_TEXT, near=AMD_TEXT)) == ()
    assert beside(NVIDIA, nvidia().host(spec=NVIDIA_TEXT, near="hello\n")) == ()


def test_two_of_the_same_devices_in_one_directory_clash() -> None:
    (found,) = beside(NVIDIA, nvidia().host(spec=NVIDIA_TEXT, near=OLDER))
    assert (found.what, found.why) == ("clashes", "has nvidia.com/gpu=0 as well")


def test_a_stale_one_under_another_name_is_left_to_whoever_chose_the_name() -> None:
    other = replace(NVIDIA, copies=())
    (found,) = beside(other, nvidia().host(spec=NVIDIA_TEXT, copy=OLDER))
    assert found.what == "by-hand" and "under a name that no tool chose" in found.why


def test_a_reading_that_was_cut_off_is_an_error() -> None:
    lines = nvidia().lines(spec=NVIDIA_TEXT)
    for cut in (lines[:-1], [*lines[:3], "node\t/dev/nvidia0"], [], [*lines[:5], "service\tloaded", "end"]):
        with pytest.raises(ValueError):
            read(cut)


def test_a_text_that_did_not_come_whole_is_not_judged() -> None:
    lines = nvidia().lines(spec=NVIDIA_TEXT)
    without = [line for line in lines if "libcuda.so.580" not in line or not line.startswith("text")]
    (reason,) = stale(NVIDIA, read(without), NVIDIA.path)
    assert "bytes, of which" in reason
