"""Throw-away hosts for the tests that need a real one: made once per session, by our own command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tests.sandbox.files_server import Files, https_files

REPOSITORY = Path(__file__).resolve().parents[2]
UP = ("sandbox", "up", "--hosts", "2", "--os", "debian12", "--os", "debian13")


@dataclass(frozen=True)
class Sandbox:
    """The hosts as sandbox.json describes them; the last one's sudo asks for a password."""

    hosts: list[dict[str, object]]
    inventory: Path
    state_dir: Path

    def container(self, host_name: str) -> str:
        """The id of the container that is the host."""
        (port,) = (host["port"] for host in self.hosts if host["name"] == host_name)
        find = ["docker", "ps", "--quiet", "--filter", f"publish={port}"]
        return subprocess.run(find, check=True, capture_output=True, text=True).stdout.strip()

    def exec(self, host_name: str, shell: str) -> subprocess.CompletedProcess[str]:
        """Run `shell` on the host as root, past SSH: a witness that shares nothing with pyinfra."""
        command = ["docker", "exec", "--interactive", self.container(host_name), "sh", "-c", shell]
        return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Debian 12 and 13; GPUWRIGHT_STATE_DIR names their state, GPUWRIGHT_KEEP_SANDBOX keeps them."""
    named = os.environ.get("GPUWRIGHT_STATE_DIR")
    state_dir = Path(named) if named else tmp_path_factory.mktemp("state")
    os.environ["GPUWRIGHT_STATE_DIR"] = str(state_dir)
    gpuwright(*UP)
    try:
        hosts = json.loads((state_dir / "sandbox.json").read_text())["hosts"]
        yield Sandbox(hosts, REPOSITORY / "inventories" / "sandbox.py", state_dir)
    finally:
        if not os.environ.get("GPUWRIGHT_KEEP_SANDBOX"):
            gpuwright("sandbox", "down")
        if not named:
            del os.environ["GPUWRIGHT_STATE_DIR"]


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def prepared(sandbox: Sandbox, authority: trustme.CA) -> Sandbox:
    """The hosts with curl, gnupg and our CA: what role base, or an administrator, brings."""
    for host in sandbox.hosts:
        done = sandbox.exec(
            str(host["name"]),
            "apt-get -q update && apt-get -q install -y curl ca-certificates gnupg >/dev/null && umask 022 && "
            f"printf %s '{authority.cert_pem.bytes().decode()}' >/usr/local/share/ca-certificates/tests.crt && "
            "update-ca-certificates",
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return sandbox


@pytest.fixture(scope="session")
def gateway(sandbox: Sandbox) -> str:
    """This machine, as the last host sees it."""
    done = sandbox.exec(str(sandbox.hosts[-1]["name"]), "ip -4 route show default")
    return done.stdout.split()[2]


@pytest.fixture
def files(gateway: str, authority: trustme.CA) -> Iterator[Files]:
    with https_files(gateway, authority) as served:
        yield served


def gpuwright(*arguments: str) -> None:
    """Run the command line in a process of its own; its output is shown where it fails."""
    command = [str(Path(sys.executable).parent / "gpuwright"), *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
