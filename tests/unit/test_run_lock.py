"""The run lock's holder, in this machine's own shell: taken, refused, and released by the end of its stdin."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gpuwright.operations.run_lock import HOLD, LOOK, Owner, parse_owner


def holder(path: Path, owner: str, wait_s: int = 5) -> subprocess.Popen[str]:
    command = ["sh", "-c", HOLD, "sh", str(path), owner, str(wait_s), "lab:7"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def look(path: Path) -> str:
    done = subprocess.run(["sh", "-c", LOOK, "sh", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr
    return done.stdout


def test_the_second_is_told_who_has_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert look(path) == "" and not path.exists()  # looking leaves no trace
    with holder(path, "ann@lab, pid 7") as first:
        assert first_line(first) == "held"
        with holder(path, "ben@desk, pid 8", wait_s=0) as second:
            owner = parse_owner(first_line(second))
        assert owner.name == "ann@lab, pid 7" and owner.age_s < 60 and owner.pid > 0
        assert owner.origin == "lab:7"
        assert parse_owner(look(path)).name == "ann@lab, pid 7"
        first.kill()


def test_the_end_of_stdin_releases_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path, "ann@lab, pid 7") as first:
        assert first_line(first) == "held"
        assert first.stdin is not None
        first.stdin.close()
        with holder(path, "ben@desk, pid 8") as second:
            assert first_line(second) == "held"
    assert look(path) == ""


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path, "ann@lab, pid 7") as first:
        assert first_line(first) == "held"
        first.kill()
        first.wait()
        assert look(path) == ""


@pytest.mark.parametrize(("seconds", "age"), [(0, "0 s"), (185, "3 min 5 s"), (7200, "2 h 0 s")])
def test_ages_are_for_people(seconds: int, age: str) -> None:
    assert Owner("ann@lab, pid 7", seconds, 1).age == age


@pytest.mark.parametrize(
    "line", ["", "taken", "taken\tann\t3\t1", "taken\tann\tsoon\t1\tlab:7", "other\tann\t3\t1\tlab:7"]
)
def test_a_line_that_was_cut_off_is_no_owner(line: str) -> None:
    with pytest.raises(ValueError):
        parse_owner(line)
