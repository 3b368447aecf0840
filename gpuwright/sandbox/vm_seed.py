"""What makes one VM of the base disk's copies: its name, its SSH host key, who may log in, sudo's password."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

from gpuwright.sandbox.state import HostRecord, write_private

USER_ID = 1000  # the base disk's first user
SECTOR = 512


def known_host(seed_directory: Path, host: HostRecord) -> str:
    """The known_hosts line of a host whose seed was written."""
    kind, key, *_ = (seed_directory / "host_key.pub").read_text().split()
    return f"[{host.address}]:{host.port} {kind} {key}"


def write(path: Path, host: HostRecord, public_key: str) -> None:
    """Write the seed once: a tar, as long as a disk must be."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = path.parent / "host_key"
    if not key.exists():
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", host.name, "-f", str(key)]
        subprocess.run(command, check=True, capture_output=True, text=True)
    rule = "ALL" if host.sudo_password is not None else "NOPASSWD: ALL"
    files = {
        "etc/hostname": (f"{host.name}\n", 0o644, 0),
        "etc/hosts": (f"127.0.0.1 localhost {host.name}\n::1 localhost\n", 0o644, 0),
        "etc/ssh/ssh_host_ed25519_key": (key.read_text(), 0o600, 0),
        "etc/ssh/ssh_host_ed25519_key.pub": (key.with_suffix(".pub").read_text(), 0o644, 0),
        f"etc/sudoers.d/{host.user}": (f"{host.user} ALL=(ALL:ALL) {rule}\n", 0o440, 0),
        f"home/{host.user}/.ssh/authorized_keys": (public_key, 0o600, USER_ID),
    }
    if host.sudo_password is not None:
        files["root/sandbox-password"] = (f"{host.user}:{host.sudo_password}\n", 0o600, 0)
    beside = path.with_suffix(".new")
    write_private(beside, "")
    beside.write_bytes(archive(host.user, files))
    beside.rename(path)


def archive(user: str, files: dict[str, tuple[str, int, int]]) -> bytes:
    """A tar of `path: (text, mode, owner)`, with the user's own .ssh above what lies in it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        ssh = tarfile.TarInfo(f"home/{user}/.ssh")
        ssh.type, ssh.mode, ssh.uid, ssh.gid = tarfile.DIRTYPE, 0o700, USER_ID, USER_ID
        tar.addfile(ssh)
        for name, (text, mode, owner) in files.items():
            member = tarfile.TarInfo(name)
            member.mode, member.uid, member.gid, member.size = mode, owner, owner, len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    data = buffer.getvalue()
    return data.ljust(-(-len(data) // SECTOR) * SECTOR, b"\0")
