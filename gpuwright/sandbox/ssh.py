"""Keys and host keys of a sandbox, and the ssh command that uses them."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

from gpuwright.errors import GpuwrightError
from gpuwright.sandbox.state import HostRecord


def ensure_key(directory: Path) -> Path:
    """The sandbox's ed25519 key, made once per state directory; returns the private half's path."""
    key = directory / "ssh" / "id_ed25519"
    if not key.exists():
        key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "gpuwright-sandbox", "-f", str(key)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise GpuwrightError.of(
                "ssh-keygen", f"failed ({error})", "OpenSSH's client", "apt-get install openssh-client"
            ) from error
    return key


def command(host: HostRecord, remote: list[str]) -> list[str]:
    """The ssh call for `host`. Nothing is read from the user's own configuration: it may rewrite hosts."""
    options = {
        "UserKnownHostsFile": f'"{host.known_hosts}"',
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        "LogLevel": "ERROR",
    }
    flags = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    port = ["-p", str(host.port)]
    return ["ssh", "-F", "none", *flags, "-i", host.key, *port, f"{host.user}@{host.address}", *remote]


def wait(host: HostRecord, timeout_s: float) -> None:
    """Return when sshd greets; a bare connection proves nothing, the engine's proxy accepts it early."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((host.address, host.port), timeout=2) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        time.sleep(0.2)
    raise GpuwrightError.of(
        f"sandbox host {host.name}",
        f"sshd on {host.address}:{host.port} was silent for {timeout_s:.0f} s",
        "a running sshd",
        f"See `gpuwright sandbox logs {host.name} -u ssh`.",
    )
