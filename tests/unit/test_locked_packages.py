"""Locked sets: what belongs together, what apt said it would do, and the lock file."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpuwright import locks
from gpuwright.errors import GpuwrightError
from gpuwright.locks import Lock, LockedVersions
from gpuwright.operations.apt import explained, parse_simulation
from gpuwright.operations.locked_packages import LockedPackages, belongs, closure, patterns_of
from gpuwright.operations.root_shell import Answer
from gpuwright.plan.stack_model import LockedSet

SET = LockedSet("nvidia", ("nvidia-driver-pinning-580",), ("nvlsm",), "", ("nvidia-", "libcuda"))
DPKG = """\
nvidia-kernel-dkms\t550.163.01-2\tinstall\tinstalled\t, dkms, nvidia-kernel-support (= 1) | nvidia-x, libcuda1:amd64
nvidia-kernel-support\t550.163.01-2\thold\tinstalled\t,
libcuda1\t550.163.01-2\tinstall\thalf-configured\tlibc6, nvidia-alternative
nvidia-settings\t550.163.01-1\tinstall\tinstalled\t,
"""
SIMULATED = """\
Reading package lists...
Inst nvidia-kernel-dkms [550.163.01-2] (550.163.01-4 Debian:13.7/stable [amd64]) []
Inst linux-headers-6.12.117+deb13-amd64 (6.12.117-1 Debian-Security:13/stable-security [amd64])
Remv nvidia-alternative [550.163.01-2]
Conf nvidia-kernel-dkms (550.163.01-4 Debian:13.7/stable [amd64])
"""


def test_the_closure_is_what_is_declared_and_what_it_needs_of_the_set() -> None:
    there = LockedPackages().process(DPKG.splitlines())
    assert closure(there, ["nvidia-kernel-dkms"]) == (
        "libcuda1",
        "nvidia-kernel-dkms",
        "nvidia-kernel-support",
    )
    assert (there["libcuda1"].whole, there["nvidia-kernel-support"].held) == (False, True)


def test_a_name_belongs_by_pattern_or_as_it_is_written() -> None:
    names = ("nvidia-smi", "libcuda1", "nvlsm", "nvlsm-dev", "linux-image-amd64")
    assert [name for name in names if belongs(SET, name)] == ["nvidia-smi", "libcuda1", "nvlsm"]


def test_patterns_escape_what_grep_would_take_for_an_operator() -> None:
    odd = LockedSet("x", (), ("libstdc++6.1",), "", ())
    assert belongs(odd, "libstdc++6.1")
    assert not belongs(odd, "libstdc++631")
    assert patterns_of(odd) == ("libstdc[+][+]6[.]1([^a-z0-9+.-]|$)",)


def test_a_simulation_says_what_is_new_and_what_goes() -> None:
    simulation = parse_simulation(SIMULATED.splitlines())
    assert simulation.installs[0] == ("nvidia-kernel-dkms", "550.163.01-2", "550.163.01-4")
    assert simulation.new == ("linux-headers-6.12.117+deb13-amd64",)
    assert simulation.removes == ("nvidia-alternative",)


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("E: Failed to fetch http://a/x.deb  Hash Sum mismatch", "not what its index promises"),
        ("E: Release file for http://a is expired (invalid since 3d)", "expired"),
        ("W: GPG error: http://a InRelease: NO_PUBKEY 0123456789ABCDEF", "not signed by the key"),
        ("dpkg: error: cannot copy '/boot/x': No space left on device", "a file system is full"),
        ("E: Failed to fetch http://a/InRelease  Could not connect to a:80", "does not answer"),
        ("E: Version '1' for 'nvidia-smi' was not found", "no source has the package"),
        ("E: Unable to correct problems, you have held broken packages.", "do not go together"),
    ],
)
def test_failures_of_apt_are_named(said: str, meaning: str) -> None:
    refusal = explained("apt", Answer(False, (), ("Reading lists", said)), "packages")
    assert meaning in refusal.observed
    assert said[:40] in refusal.observed


def test_an_unknown_failure_keeps_apts_own_words() -> None:
    answer = Answer(False, (), ("Reading lists", "E: something new", "done"))
    assert explained("apt", answer, "packages").observed == "E: something new"


def test_a_lock_reads_as_it_was_written(tmp_path: Path) -> None:
    lock = Lock({"nvidia": LockedVersions(("nvidia-smi",), {"nvidia-smi": "550.163.01-2"})})
    path = tmp_path / "locks" / "a.json"
    locks.write(path, lock)
    assert locks.read(path) == lock
    assert locks.read(tmp_path / "none.json") == Lock()


def test_a_lock_of_another_declaration_counts_for_nothing() -> None:
    lock = Lock({"nvidia": LockedVersions(("nvidia-smi",), {"nvidia-smi": "1"})})
    assert lock.versions("nvidia", ("nvidia-smi",)) == {"nvidia-smi": "1"}
    assert lock.versions("nvidia", ("nvidia-smi", "libcuda1")) == {}
    assert lock.versions("kernel", ("nvidia-smi",)) == {}


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 2, "sets": {}}', '{"schema": 1, "sets": {"a": {}}}'])
def test_a_damaged_lock_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(GpuwrightError, match=r"a\.json"):
        locks.read(path)
