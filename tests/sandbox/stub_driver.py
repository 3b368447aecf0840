"""A STUB of NVIDIA's repository: its names and relations, packages that are empty but for a dkms module of our own.

It shows what our roles, apt, dpkg and dkms do with packages of these names. No result from it is called a driver
install: the module drives nothing, and the library packages hold no library.

Names, versions and relations are the stanzas of tests/stub_archive/data; building needs apt-ftparchive, dpkg-deb and
gpg on this machine. A host finds it under NVIDIA's own URI, with a key and a source that an "administrator" put there.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import trustme
from typing_extensions import override

from gpuwright import catalog
from tests.sandbox.files_server import Files, Served
from tests.sandbox.hosts import Sandbox
from tests.stub_archive.archive import DATA
from tests.stub_archive.stanza import Stanza, read

PARTS = Path(__file__).parent / "stub_driver"
VENDOR = "developer.download.nvidia.com"
# Stanzas say in which versions these are; a test publishes some of them.
STANZAS = ("nvidia-debian", "nvidia-pinning")
BESIDE = "stub-beside"
# The date stays: apt takes no notice of an index that is older than the one it has.
PAST = b"Valid-Until: Sun, 09 Nov 2025 10:00:00 UTC\n"


class Authority(trustme.CA):
    """An authority whose certificates are good for NVIDIA's name as well."""

    @override
    def issue_cert(self, *identities: str, **options: object) -> trustme.LeafCert:
        return super().issue_cert(*identities, VENDOR, **options)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Release:
    """A driver version of the stub; `knows` is the last kernel that it builds for (6.12.94), "" for all."""

    version: str
    knows: str = ""

    @property
    def upstream(self) -> str:
        return self.version.rpartition("-")[0]

    @property
    def flags(self) -> str:
        """For the compiler."""
        return f"-DSTUB_KNOWS='KERNEL_VERSION({self.knows.replace('.', ',')})'" if self.knows else ""

    @property
    def branch(self) -> str:
        return self.version.partition(".")[0]


@dataclass
class StubDriver:
    """Packages and indexes below `root`, signed with a throw-away key, served by `files`."""

    root: Path
    files: Files
    _debs: dict[tuple[str, Release], Path] = field(default_factory=dict)
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

    def publish(
        self,
        release: str,
        drivers: Iterable[Release],
        *,
        beside: str = "1",
        without: str = "",
        signed_by: str = "stub",
        expired: bool = False,
    ) -> None:
        """The repository of a release ("debian 13") has these drivers from now on.

        `beside` is the version of a package that is no driver's; `without` leaves a package out; `signed_by` stranger
        is a key that no host trusts; `expired`: Valid-Until has passed.
        """
        row = catalog.load().nvidia.repository(release, "x86_64")
        assert row is not None
        top = self.root / "repository"
        shutil.rmtree(top, ignore_errors=True)
        top.mkdir()
        for driver in drivers:
            for stanza in self._stanzas(driver):
                if stanza.name != without:
                    self._place(top, stanza, driver)
        fields = {"Package": BESIDE, "Version": beside, "Architecture": "all"}
        self._place(top, Stanza(fields), Release(beside))
        (top / "Packages").write_bytes(_run("apt-ftparchive", "packages", ".", cwd=top))
        about = ["-oAPT::FTPArchive::Release::Origin=NVIDIA", "-oAPT::FTPArchive::Release::Label=NVIDIA CUDA"]
        index = _run("apt-ftparchive", *about, "release", ".", cwd=top)
        if expired:
            index = PAST + index
        (top / "InRelease").write_bytes(self._gpg(signed_by, "--clearsign", data=index))
        base = "/" + row.uri.rstrip("/").partition(f"{VENDOR}/")[2]
        for served in [each for each in self.files.served if each.startswith(base)]:
            del self.files.served[served]
        for path in top.iterdir():
            below = "./" if path.suffix == ".deb" else ""  # as the index names them, and apt asks for them
            self.files.served[f"{base}/{below}{path.name}"] = Served(path.read_bytes())

    def spoil(self, package: str) -> None:
        """The packages of this name are not what the index says, from now on: as long, and other bytes."""
        for path, served in self.files.served.items():
            if path.rpartition("/")[2].startswith(f"{package}_"):
                served.content = bytes(len(served.content))

    def known_to(self, sandbox: Sandbox, host: str, release: str, authority: trustme.CA) -> None:
        """An administrator of the host has added the repository, with the stub's key."""
        row = catalog.load().nvidia.repository(release, "x86_64")
        assert row is not None
        server = self.files.url.removeprefix("https://")
        certificate = authority.cert_pem.bytes().decode()
        script = (PARTS / "on_the_host.sh").read_text()
        arguments = (VENDOR, server, row.uri, self.key(), certificate)
        done = sandbox.exec(host, f"set -- {shlex.join(arguments)}\n{script}")
        assert done.returncode == 0, done.stdout + done.stderr

    def close(self) -> None:
        """Ends the agents that gpg started, and removes the keys."""
        for user in ("stub", "stranger"):
            subprocess.run(["gpgconf", "--homedir", self._home(user), "--kill", "all"], check=True)
        # An agent that ends removes its sockets, maybe while they are being removed here.
        shutil.rmtree(self._keys, ignore_errors=True)

    def _stanzas(self, driver: Release) -> list[Stanza]:
        """Of one version; the branch's pinning package has a number of its own."""
        found = [stanza for name in STANZAS for stanza in read((DATA / f"{name}.deb822").read_text())]
        ours = [stanza for stanza in found if stanza.version == driver.version]
        assert ours, f"{driver.version}: no stanza in tests/stub_archive/data"
        return ours + [stanza for stanza in found if stanza.name == f"nvidia-driver-pinning-{driver.branch}"]

    def _place(self, top: Path, stanza: Stanza, driver: Release) -> None:
        deb = self._deb(stanza, driver)
        if not (top / deb.name).exists():
            os.link(deb, top / deb.name)

    def _deb(self, stanza: Stanza, driver: Release) -> Path:
        key = (stanza.name, driver)
        if key not in self._debs:
            place = self.root / "deb" / str(len(self._debs))
            (place / "DEBIAN").mkdir(parents=True)
            (place / "DEBIAN/control").write_text(stanza.control())
            self._fill(place, stanza, driver)
            name = f"{stanza.name}_{stanza.version}_{stanza.fields['Architecture']}.deb"
            deb = place.with_suffix(".d") / name
            deb.parent.mkdir()
            _run("dpkg-deb", "--root-owner-group", "--build", str(place), str(deb), cwd=self.root)
            self._debs[key] = deb
        return self._debs[key]

    def _fill(self, place: Path, stanza: Stanza, driver: Release) -> None:
        """What is not empty: the dkms packages, the daemon's unit, and what pins."""
        words = {
            "@VERSION@": driver.upstream,
            "@FLAGS@": driver.flags,
            "@PACKAGE@": stanza.name,
        }
        if stanza.name.endswith("-dkms"):
            source = place / "usr/src" / f"nvidia-{driver.upstream}"
            for name in ("nvidia.c", "Makefile", "dkms.conf"):
                _put(source / name, _filled(name, words))
            for name in ("postinst", "prerm"):
                _put(place / "DEBIAN" / name, _filled(name, words), 0o755)
        elif stanza.name == "nvidia-persistenced":
            _put(
                place / "usr/lib/systemd/system/nvidia-persistenced.service",
                _filled(f"{stanza.name}.service", {}),
            )
        elif stanza.preferences:
            text = stanza.preferences.replace(" | ", "\n") + "\n"
            _put(place / "etc/apt/preferences.d" / stanza.name, text)

    def _home(self, user: str) -> Path:
        return self._keys / user

    def _gpg(self, user: str, *arguments: str, data: bytes = b"") -> bytes:
        home = str(self._home(user))
        return _run("gpg", "--homedir", home, "--batch", "--quiet", *arguments, cwd=self.root, data=data)


def _filled(name: str, words: dict[str, str]) -> str:
    """A file of PARTS with its @WORDS@ replaced."""
    text = (PARTS / name).read_text()
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def _put(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def _run(*command: str, cwd: Path, data: bytes = b"") -> bytes:
    done = subprocess.run(command, cwd=cwd, input=data, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode()}")
    return done.stdout
