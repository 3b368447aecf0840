"""What a kernel must have before it boots, from readings of the kernels on a disk."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpuwright.operations.machine_owner_key import KeyState
from gpuwright.operations.next_kernels import NextKernel
from gpuwright.operations.preflight import lacks

OLD, NEW = "6.12.94+deb13-amd64", "6.12.117+deb13-amd64"
FILE = f"/lib/modules/{NEW}/updates/dkms/nvidia-current.ko.xz"
READY = NextKernel(
    NEW, ("planned",), True, True, True, False, FILE, "550.163.01", "DKMS module signing key", ()
)
RUNS = replace(READY, release=OLD, why=("running",))
KEY = KeyState("enrolled", "/var/lib/dkms/mok.pub")


def observed(new: NextKernel, key: KeyState | None = None, old: NextKernel = RUNS) -> list[str]:
    return [refusal.observed for refusal in lacks(NEW, [old, new], "nvidia-current", key)]


@pytest.mark.parametrize("key", [None, KEY])
def test_a_kernel_that_has_everything(key: KeyState | None) -> None:
    assert observed(READY, key) == []


def test_a_kernel_that_is_not_there() -> None:
    (refusal,) = lacks("6.99", [RUNS, READY], "nvidia-current", KEY)
    assert "no modules below /lib/modules" in refusal.observed


def test_a_kernel_without_its_initramfs_or_module() -> None:
    assert observed(replace(READY, initramfs=False)) == ["its initramfs is not in /boot"]
    assert observed(replace(READY, file="", headers=False)) == [
        "module nvidia-current is not there for it, and its headers are not there to build it"
    ]


def test_a_module_that_no_kernel_has_comes_after_the_boot() -> None:
    assert observed(replace(READY, file=""), old=replace(RUNS, file="")) == []


@pytest.mark.parametrize("state", ["staged", "unknown", "missing", "unreadable"])
def test_where_signatures_are_checked_the_firmware_must_know_the_key(state: str) -> None:
    (reason,) = observed(READY, replace(KEY, state=state))
    assert f"/var/lib/dkms/mok.pub: {state}" in reason


def test_the_kernels_own_module_is_signed_by_whoever_built_the_kernel() -> None:
    assert (
        observed(replace(READY, file=f"/lib/modules/{NEW}/kernel/amdgpu.ko"), replace(KEY, state="unknown"))
        == []
    )
