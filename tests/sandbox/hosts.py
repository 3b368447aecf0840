"""Throw-away hosts as tests see them, past SSH and through our own command."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


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


def gpuwright(*arguments: str) -> None:
    """Run the command line in a process of its own; its output is shown where it fails."""
    command = [str(Path(sys.executable).parent / "gpuwright"), *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
