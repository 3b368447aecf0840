"""Worker processes against real sockets: hosts that refuse, or that accept and then say nothing."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuwright.drift.fleet import judge
from gpuwright.drift.model import HostDrift
from gpuwright.inventory import load

COMMAND = str(Path(sys.executable).parent / "gpuwright")


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where connections are accepted and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def inventory(tmp_path: Path, silent_port: int) -> Path:
    """`silent` may take as long as it likes: only the time for the whole host ends it."""
    path = tmp_path / "lab.py"
    path.write_text(
        "print('inventories may print')\n"
        "patience = {'timeout': 600, 'banner_timeout': 600}\n"
        "hosts = [\n"
        f"    ('silent', {{'ssh_hostname': '127.0.0.1', 'ssh_port': {silent_port},\n"
        "                'ssh_paramiko_connect_kwargs': patience}),\n"
        "    ('absent', {'ssh_hostname': '127.0.0.1', 'ssh_port': 1}),\n"
        "]\n"
    )
    return path


def test_a_host_that_hangs_ends_at_the_timeout_and_the_other_is_judged(inventory: Path) -> None:
    hosts = {host.host: host for host in judge(load(inventory), ["silent", "absent"], {}, 2, 20)}
    assert hosts["silent"].reasons == (
        "host silent: it was not judged within 20 s; required: answers in time. "
        "Look at its load, disks and network, or give it more --timeout.",
    )
    (reason,) = hosts["absent"].reasons
    assert reason.startswith("127.0.0.1:1: ") and "required: an SSH server that answers" in reason


def test_a_worker_that_dies_is_a_reason(tmp_path: Path) -> None:
    """The inventory ends the process that reads it for the second time."""
    mark = tmp_path / "read"
    path = tmp_path / "lab.py"
    path.write_text(
        "import os, sys\n"
        "from pathlib import Path\n"
        f"mark = Path({str(mark)!r})\n"
        "if mark.exists():\n"
        "    sys.stderr.write('last words, password=abcdef\\n')\n"
        "    sys.stderr.flush()\n"
        "    os._exit(7)\n"
        "mark.touch()\n"
        "hosts = ['a']\n"
    )
    assert list(judge(load(path), ["a"], {}, 1, 60)) == [
        HostDrift(
            "a",
            (
                "host a: its worker ended with 7 (last words, password=***); required: an answer. "
                "Run again; if that repeats, it is an error in gpuwright.",
            ),
        )
    ]


def test_the_command_line_of_hosts_that_cannot_be_judged(inventory: Path) -> None:
    arguments = [COMMAND, "drift", str(inventory), "--limit", "absent", "--json"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    document = json.loads(done.stdout[done.stdout.index("{") :])
    assert [host["host"] for host in document["hosts"]] == ["absent"]
    assert document["hosts"][0]["status"] == "could_not_judge"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("wrong", [["--data", "x"], ["--limit", "nobody"], ["--jobs", "0"], ["--nonsense"]])
def test_wrong_usage(inventory: Path, wrong: list[str]) -> None:
    done = subprocess.run(
        [COMMAND, "drift", str(inventory), *wrong], capture_output=True, text=True, check=False
    )
    assert done.returncode == 64
    assert "Traceback" not in done.stderr


def test_no_worker_imports_what_patches_the_process() -> None:
    code = "import sys, gpuwright.drift.worker, gpuwright.drift.command; print('pyinfra_cli' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
