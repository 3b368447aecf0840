"""A run that is killed at any moment is repaired by the next one; of two runs at once, one wins.

Every test has a host of its own, from a committed image with the packages in apt's cache. The moment of a kill is
read on the host, past SSH. `bin/test --full` adds kills at random times; GPUWRIGHT_SEED repeats them.
"""

from __future__ import annotations

import difflib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from tests.sandbox.hosts import REPOSITORY, Sandbox
from tests.sandbox.test_deploy import executed_changes

BIN = Path(sys.executable).parent
HOST = "sbx1"
FINGERPRINT = (REPOSITORY / "tests" / "fingerprint.sh").read_text()
SEED = int(os.environ.get("GPUWRIGHT_SEED") or random.SystemRandom().randrange(10**6))
RANDOM_KILLS = 10
LOCK_IS_HELD = "[ -e /run/gpuwright.lock ] && ! flock --nonblock /run/gpuwright.lock true"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Reference:
    """A host that nobody disturbed, and the image of a bare one with the same packages in apt's cache."""

    fingerprint: str
    seconds: float
    image: str


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reference]:
    release = ("--os", "debian13")
    with one_host(tmp_path_factory.mktemp("reference"), *release) as box:
        began = time.monotonic()
        assert finished(start(box)) == 0, output(box)
        seconds = time.monotonic() - began
        taken = fingerprint(box)
        with one_host(tmp_path_factory.mktemp("bare"), *release) as bare:
            cache = f"docker exec {box.container(HOST)} tar -C / -c var/cache/apt/archives var/lib/apt/lists"
            fill = f"docker exec -i {bare.container(HOST)} tar -C / -x"
            subprocess.run(["sh", "-c", f"{cache} | {fill}"], check=True)
            # Every host makes its own identity.
            done = bare.exec(
                HOST, "rm -f /etc/ssh/ssh_host_* && : >/etc/machine-id && ls /var/cache/apt/archives"
            )
            assert "docker" in done.stdout, done.stdout + done.stderr
            client = docker.from_env(timeout=300)
            image = client.containers.get(bare.container(HOST)).commit()
    yield Reference(taken, seconds, str(image.id))
    client.images.remove(image.id)


@pytest.fixture
def box(reference: Reference, tmp_path: Path) -> Iterator[Sandbox]:
    """A bare host that has all packages in apt's cache."""
    with one_host(tmp_path, "--os", "debian13", "--image", reference.image) as made:
        yield made


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    def disabled(text: str) -> None:
        with capsys.disabled():
            print(f"\n    {text}", end="", flush=True)

    return disabled


def test_of_two_runs_at_once_one_wins_and_a_killed_winner_blocks_nobody(
    reference: Reference, box: Sandbox, say: Say
) -> None:
    runs = {name: start(box, name) for name in ("one", "two")}
    wait_on_host(box, LOCK_IS_HELD)
    assert finished(start(box, "dry", "--dry")) == 0, output(box, "dry")
    assert f"{HOST} is being changed by " in output(box, "dry")
    codes = {name: finished(run) for name, run in runs.items()}
    assert sorted(codes.values()) == [0, 1], "".join(output(box, name) for name in runs)
    (won,), (lost,) = ([name for name in codes if codes[name] == code] for code in (0, 1))
    text = output(box, lost)
    assert f"host {HOST}: another run has been changing it for " in text
    assert f"@{os.uname().nodename}, pid {runs[won].pid})" in text
    assert "required: one run at a time. Wait until that one has ended" in text
    assert "Starting operation: Base" not in text and "Traceback" not in text
    same_as(reference, box)  # a second host that nobody disturbed

    run = start(box, "killed")
    wait_on_host(box, LOCK_IS_HELD)
    kill(run)
    began = time.monotonic()
    assert finished(start(box, "next")) == 0, output(box, "next")
    assert executed_changes(output(box, "next")) == set()
    say(f"the run after a killed owner of the lock: {time.monotonic() - began:.1f} s, nothing to change")


def test_killed_in_apt(reference: Reference, box: Sandbox, say: Say) -> None:
    """The run, apt and dpkg at once, in the middle of the engine's packages."""
    began = time.monotonic()
    run = start(box)
    wait_on_host(box, "dpkg-query --show -f '${db:Status-Abbrev}' docker.io 2>/dev/null | grep -q '^i[UFH]'")
    kill(run)
    box.exec(HOST, "pkill -KILL -x dpkg; pkill -KILL -x apt-get")
    say(f"killed in apt after {time.monotonic() - began:.1f} s; dpkg --audit: {audit(box)} packages")
    assert audit(box) > 0, "nothing was half installed"
    repaired(reference, box, say)


def test_killed_in_the_model_upload(reference: Reference, box: Sandbox, say: Say) -> None:
    """Nothing but the run is killed: what it had started on the host may still end."""
    began = time.monotonic()
    run = start(box)
    partial = "find /var/lib/gpuwright/models/.partial -size +1M ! -name '*.chunk' 2>/dev/null"
    wait_on_host(box, f'[ -n "$({partial})" ]')
    kill(run)
    sizes = box.exec(HOST, f"{partial} -printf '%s '").stdout
    say(f"killed in the model upload after {time.monotonic() - began:.1f} s; bytes there: {sizes}")
    assert sizes
    repaired(reference, box, say)
    assert "MB are there already" in output(box, "repair")


def test_killed_in_the_image_load_and_rebooted(reference: Reference, box: Sandbox, say: Say) -> None:
    """The run is killed while the engine loads the image, and then the host restarts."""
    began = time.monotonic()
    run = start(box)
    wait_on_host(box, "pgrep -f '^docker load'")
    kill(run)
    say(f"killed in the image load after {time.monotonic() - began:.1f} s")
    gpuwright(box.state_dir, "sandbox", "restart", HOST)
    repaired(reference, box, say)


@pytest.mark.full
@pytest.mark.parametrize("number", range(RANDOM_KILLS))
def test_killed_at_a_random_time(reference: Reference, box: Sandbox, say: Say, number: int) -> None:
    chance = random.Random(f"{SEED} {number}")
    kind = chance.choice(sorted(KINDS))
    # The reference had to download; and apt works in the first part of a run.
    moment = chance.uniform(1.0, reference.seconds * (0.4 if kind == "apt" else 0.75))
    run = start(box)
    time.sleep(moment)
    said = KINDS[kind](box, run)
    say(f"seed {SEED}, kill {number}: {kind} after {moment:.1f} s {said}")
    finished(run)
    repaired(reference, box, say)


def _kill_run(box: Sandbox, run: subprocess.Popen[bytes]) -> str:
    if run.poll() is not None:
        return "(it had ended)"
    kill(run)
    return ""


def _kill_processes(pattern: str) -> Callable[[Sandbox, subprocess.Popen[bytes]], str]:
    """Kill what matches on the host; the run sees the failure. Where nothing does, the run itself."""

    def killing(box: Sandbox, run: subprocess.Popen[bytes]) -> str:
        waits = f"for i in $(seq 100); do pkill -KILL {pattern} && exit 0; sleep 0.02; done; exit 1"
        if box.exec(HOST, waits).returncode == 0:
            return ""
        return "(there was none: the run) " + _kill_run(box, run)

    return killing


def _restart(box: Sandbox, run: subprocess.Popen[bytes]) -> str:
    gpuwright(box.state_dir, "sandbox", "restart", HOST)
    return ""


KINDS: dict[str, Callable[[Sandbox, subprocess.Popen[bytes]], str]] = {
    "run": _kill_run,
    "ssh": _kill_processes("-f '^sshd.*: ops@notty'"),
    "apt": _kill_processes("'^(apt-get|dpkg)$'"),
    "engine": _kill_processes("-x dockerd"),
    "host": _restart,
}


def repaired(reference: Reference, box: Sandbox, say: Say) -> None:
    """The next run ends well, the host is as if nothing had happened, and the model answers."""
    began = time.monotonic()
    assert finished(start(box, "repair")) == 0, output(box, "repair")
    say(f"repaired in {time.monotonic() - began:.1f} s")
    same_as(reference, box)
    inventory = ["--inventory", "inventories/sandbox.py"]
    answer = gpuwright(box.state_dir, "ask", HOST, "What is the capital of France?", *inventory)
    assert "Paris" in answer


def same_as(reference: Reference, box: Sandbox) -> None:
    lines = difflib.unified_diff(
        reference.fingerprint.splitlines(),
        fingerprint(box).splitlines(),
        "undisturbed",
        "this host",
        "",
        "",
        0,
        "",
    )
    difference = "\n".join(lines)
    assert not difference, difference


def fingerprint(box: Sandbox) -> str:
    command = ["docker", "exec", "--interactive", box.container(HOST), "sh", "-s"]
    done = subprocess.run(command, input=FINGERPRINT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


def audit(box: Sandbox) -> int:
    """How many packages are neither installed nor absent."""
    statuses = box.exec(HOST, "dpkg-query --show -f '${db:Status-Abbrev}\\n'").stdout.split()
    return sum(status not in ("ii", "rc", "un") for status in statuses)


def start(box: Sandbox, log: str = "run", mode: str = "-y") -> subprocess.Popen[bytes]:
    """The real command line in a process group of its own, writing to a file that outlives it."""
    with (box.state_dir / f"{log}.log").open("wb") as stream:
        return subprocess.Popen(
            [BIN / "pyinfra", "inventories/sandbox.py", "deploy.py", mode],
            cwd=REPOSITORY,
            env=environment(box.state_dir),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def finished(run: subprocess.Popen[bytes]) -> int:
    """The exit code; a run that hangs is killed."""
    try:
        return run.wait(timeout=600)
    finally:
        if run.poll() is None:
            kill(run)


def kill(run: subprocess.Popen[bytes]) -> None:
    assert run.poll() is None, "the run had ended before it could be killed"
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()


def output(box: Sandbox, log: str = "run") -> str:
    return (box.state_dir / f"{log}.log").read_text()


def wait_on_host(box: Sandbox, condition: str) -> None:
    """Return as soon as the shell condition holds on the host, looked at every 20 ms from within."""
    loop = f"for i in $(seq 6000); do if {condition}; then exit 0; fi; sleep 0.02; done; exit 1"
    assert box.exec(HOST, loop).returncode == 0, f"never on the host: {condition}\n{output(box)}"


@contextmanager
def one_host(state_dir: Path, *arguments: str) -> Iterator[Sandbox]:
    gpuwright(state_dir, "sandbox", "up", "--hosts", "1", *arguments)
    try:
        hosts = json.loads((state_dir / "sandbox.json").read_text())["hosts"]
        yield Sandbox(hosts, REPOSITORY / "inventories" / "sandbox.py", state_dir)
    finally:
        gpuwright(state_dir, "sandbox", "down")


def gpuwright(state_dir: Path, *arguments: str) -> str:
    command = [BIN / "gpuwright", *arguments]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment(state_dir), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment(state_dir: Path) -> dict[str, str]:
    return {**os.environ, "GPUWRIGHT_STATE_DIR": str(state_dir)}
