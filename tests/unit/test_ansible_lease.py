"""What an Ansible task keeps running on its host, in this machine's own shell: it ends with the task, or by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gpuwright import control_process
from gpuwright.ansible import job, lease
from gpuwright.ansible.job import watched
from gpuwright.ansible.lease import Lease
from gpuwright.ansible.shell import Ran
from gpuwright.operations.run_lock import HOLD, LET_GO, LOOK


class ThisMachine:
    """Each command in a shell of its own, as Ansible's connections run them."""

    def run(self, command: str, stdin: bytes = b"") -> Ran:
        done = subprocess.run(["sh", "-c", command], input=stdin, capture_output=True, check=False)
        text, errors = (each.decode(errors="surrogateescape") for each in (done.stdout, done.stderr))
        return Ran(done.returncode, text, errors)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ThisMachine:
    monkeypatch.setattr(lease, "BELOW", str(tmp_path))
    monkeypatch.setattr(job, "_LOOK_EVERY_S", 0.05)
    return ThisMachine()


def until(condition: Callable[[], bool]) -> bool:
    """Whether it comes true within ten seconds."""
    for _ in range(200):
        if condition():
            return True
        time.sleep(0.05)
    return False


def held(path: Path) -> bool:
    return bool(subprocess.check_output(["sh", "-c", LOOK, "sh", str(path)]))


def hold(shell: ThisMachine, path: Path) -> Lease:
    line = lease.command(HOLD, str(path), "ann@lab, pid 7", "0", control_process.origin())
    return Lease.start(shell, line, "")


def runs(mine: Lease) -> bool:
    """Whether a command has said that it runs."""
    task = Path(mine.directory) / "task"
    return task.exists() and bool(task.read_text().strip())


def test_the_lock_is_held_until_the_task_ends(shell: ThisMachine, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    mine = hold(shell, path)
    assert next(iter(mine.process.stdout)) == "held"
    assert held(path)
    mine.end()
    assert not held(path)
    assert list(tmp_path.glob("gpuwright-task-*")) == []


def test_stdin_arrives_and_stays_open(shell: ThisMachine) -> None:
    mine = Lease.start(shell, 'read word; echo "got $word"; cat >/dev/null', "secret\n")
    assert list(mine.process.stdout) == ["got secret"]
    assert (Path(mine.directory) / "keeper").exists()
    assert not (Path(mine.directory) / "first").exists()  # it may be a secret
    mine.end()


def test_a_process_that_cannot_start_says_why(shell: ThisMachine) -> None:
    mine = Lease.start(shell, "echo no such thing >&2; exit 3", "")
    assert list(mine.process.stdout) == []
    assert list(mine.process.stderr) == ["no such thing"]
    assert until(lambda: not Path(mine.directory).exists())


def test_a_task_that_is_not_heard_of_loses_it(
    shell: ThisMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "IDLE_S", 1)
    path = tmp_path / "lock"
    hold(shell, path)
    assert until(lambda: not held(path))


def test_a_command_that_runs_keeps_it(
    shell: ThisMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "IDLE_S", 2)
    path = tmp_path / "lock"
    mine = hold(shell, path)
    ran = shell.run(mine.renewing("sleep 4; exit 5"))
    assert ran.code == 5
    assert held(path)
    assert until(lambda: not held(path))


def test_a_killed_holder_takes_everything_with_it(shell: ThisMachine, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    mine = hold(shell, path)
    pid = int(path.read_text().split("\t")[2])
    os.kill(pid, signal.SIGTERM)
    assert until(lambda: not held(path))
    assert until(lambda: not Path(mine.directory).exists())
    listing = subprocess.check_output(["ps", "-eo", "args"], text=True)
    assert str(path) not in listing


def test_whoever_lets_go_of_it_waits_for_a_command_of_its_run(shell: ThisMachine, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    mine = hold(shell, path)
    pid = path.read_text().split("\t")[2]
    with subprocess.Popen(["sh", "-c", mine.renewing("sleep 3")]) as running:
        assert until(lambda: runs(mine))
        subprocess.run(["sh", "-c", LET_GO, "sh", pid, str(tmp_path)], check=True)
        assert held(path)
        running.wait()
    assert until(lambda: not held(path))


def test_progress_is_said_while_the_command_runs(shell: ThisMachine) -> None:
    mine = Lease.start(shell, "echo held; cat >/dev/null", "")
    said: list[tuple[str, bool]] = []
    go_on = Path(mine.directory) / "go-on"

    def say(line: str) -> None:
        said.append((line, go_on.exists()))
        go_on.touch()

    raw = (
        f"read word; echo first; until [ -e {go_on} ]; do sleep 0.05; done; echo $word; echo bad >&2; exit 4"
    )
    ran = watched(shell, mine, raw, b"last\n", say)
    assert said == [("first", False), ("last", True)]
    assert (ran.code, ran.stdout, ran.stderr) == (4, "first\nlast\n", "bad\n")
    mine.end()


def test_progress_may_be_any_bytes(shell: ThisMachine) -> None:
    mine = Lease.start(shell, "echo held; cat >/dev/null", "")
    said: list[str] = []
    raw = r"printf 'caf\303'; sleep 0.5; printf '\251\n\351\n'"
    ran = watched(shell, mine, raw, b"", said.append)
    assert said == ["caf\u00e9", "\ufffd"]
    assert ran.stdout == "caf\u00e9\n\ufffd\n"
    mine.end()


def test_a_command_that_was_given_up_keeps_the_process(shell: ThisMachine, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    mine = hold(shell, path)
    with subprocess.Popen(["sh", "-c", mine.renewing("sleep 6")]) as given_up:
        assert until(lambda: runs(mine))
        mine.end()
        assert held(path)
        given_up.wait()
    assert until(lambda: not held(path))


def test_a_job_ends_with_its_task(shell: ThisMachine, tmp_path: Path) -> None:
    mine = Lease.start(shell, "echo held; cat >/dev/null", "")
    pid_file = tmp_path / "pid"

    def interrupted(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watched(shell, mine, f"echo $$ >{pid_file}; echo go; exec sleep 600", b"", interrupted)
    mine.end()
    assert until(lambda: not alive(int(pid_file.read_text())))


def alive(pid: int) -> bool:
    """Whether it runs; a zombie of this machine's init does not."""
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def test_a_process_of_this_machine_is_known_to_be_gone() -> None:
    with subprocess.Popen(["true"]) as done:
        pass
    machine = control_process.origin().partition(":")[0]
    assert machine and control_process.gone(f"{machine}:{done.pid}")
    assert not control_process.gone(control_process.origin())
    assert not control_process.gone(f"ffffffffffff:{done.pid}")  # another machine's
    assert not control_process.gone("")
