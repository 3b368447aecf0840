"""A vendor's flat apt repository on this machine: signed with a throw-away key, found by hosts under the vendor's URI.

What is in it are STUBS; see stub_driver.py and stub_toolkit.py.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import trustme
from typing_extensions import override

from tests.sandbox.files_server import Files, Served
from tests.sandbox.hosts import Sandbox
from tests.stub_archive.stanza import Stanza

PARTS = Path(__file__).parent / "stub_driver"
VENDORS = ("developer.download.nvidia.com", "nvidia.github.io")
# The date stays: apt takes no notice of an index that is older than the one it has.
PAST = b"Valid-Until: Sun, 09 Nov 2025 10:00:00 UTC\n"


class Authority(trustme.CA):
    """An authority whose certificates are good for NVIDIA's names as well."""

    @override
    def issue_cert(self, *identities: str, **options: object) -> trustme.LeafCert:
        return super().issue_cert(*identities, *VENDORS, **options)  # type: ignore[arg-type]


@dataclass
class StubRepository:
    """Packages and indexes below `root`, signed with a throw-away key, served by `files`."""

    root: Path
    files: Files
    # Not below root: the path of an agent's socket has at most 107 bytes.
    _keys: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="stub-keys-")))

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        for user in ("stub", "stranger"):
            home = self._home(user)
            home.mkdir(mode=0o700, parents=True)
            self._gpg(user, "--passphrase", "", "--quick-generate-key", user, "ed25519", "sign", "never")

    def key(self, user: str = "stub") -> str:
        """The public key of whoever signs."""
        return self._gpg(user, "--armor", "--export").decode()

    def close(self) -> None:
        """Ends the agents that gpg started, and removes the keys."""
        for user in ("stub", "stranger"):
            subprocess.run(["gpgconf", "--homedir", self._home(user), "--kill", "all"], check=True)
        # An agent that ends removes its sockets, maybe while they are being removed here.
        shutil.rmtree(self._keys, ignore_errors=True)

    def _empty(self) -> Path:
        """A folder for what is published next."""
        top = self.root / "repository"
        shutil.rmtree(top, ignore_errors=True)
        top.mkdir()
        return top

    def _serve(
        self, top: Path, uri: str, origin: str, label: str, signed_by: str = "stub", expired: bool = False
    ) -> None:
        """What is in `top` is in the repository at `uri` from now on, and nothing else."""
        (top / "Packages").write_bytes(run("apt-ftparchive", "packages", ".", cwd=top))
        about = [f"-oAPT::FTPArchive::Release::Origin={origin}", f"-oAPT::FTPArchive::Release::Label={label}"]
        index = run("apt-ftparchive", *about, "release", ".", cwd=top)
        if expired:
            index = PAST + index
        (top / "InRelease").write_bytes(self._gpg(signed_by, "--clearsign", data=index))
        base = urlsplit(uri).path.rstrip("/")
        for served in [each for each in self.files.served if each.startswith(base)]:
            del self.files.served[served]
        for path in top.iterdir():
            below = "./" if path.suffix == ".deb" else ""  # as the index names them, and apt asks for them
            self.files.served[f"{base}/{below}{path.name}"] = Served(path.read_bytes())

    def _known(
        self, sandbox: Sandbox, host: str, uri: str, authority: trustme.CA, at: str, name: str
    ) -> None:
        """An administrator of the host has added the repository, with this key, as source `name`.

        The vendor's name leads to the address `at` of the host's own, which leads here.
        """
        server = self.files.url.removeprefix("https://")
        certificate = authority.cert_pem.bytes().decode()
        script = (PARTS / "on_the_host.sh").read_text()
        vendor = urlsplit(uri).hostname or ""
        arguments = (vendor, server, uri, self.key(), certificate, at, name)
        done = sandbox.exec(host, f"set -- {shlex.join(arguments)}\n{script}")
        assert done.returncode == 0, done.stdout + done.stderr

    def _pack(self, tree: Path, stanza: Stanza) -> Path:
        """The package of a tree that has all but the control file."""
        put(tree / "DEBIAN/control", stanza.control())
        deb = tree.with_suffix(".d") / f"{stanza.name}_{stanza.version}_{stanza.fields['Architecture']}.deb"
        deb.parent.mkdir()
        run("dpkg-deb", "--root-owner-group", "--build", str(tree), str(deb), cwd=self.root)
        return deb

    def _home(self, user: str) -> Path:
        return self._keys / user

    def _gpg(self, user: str, *arguments: str, data: bytes = b"") -> bytes:
        home = str(self._home(user))
        return run("gpg", "--homedir", home, "--batch", "--quiet", *arguments, cwd=self.root, data=data)


def filled(path: Path, words: dict[str, str]) -> str:
    """A file with its @WORDS@ replaced."""
    text = path.read_text()
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def put(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def link(deb: Path, top: Path) -> None:
    """The package in the folder of a repository, once."""
    if not (top / deb.name).exists():
        os.link(deb, top / deb.name)


def run(*command: str, cwd: Path, data: bytes = b"") -> bytes:
    done = subprocess.run(command, cwd=cwd, input=data, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode()}")
    return done.stdout
