"""The archive: what repositories there are, built with dpkg's and apt's own tools and signed with a throw-away key."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from tests.stub_archive.stanza import Stanza, read

DATA = Path(__file__).parent / "data"
# What an installation of Debian or Ubuntu has without being asked.
EVERYWHERE = ("main", "universe")
NEEDS = {"dpkg-deb": "dpkg", "apt-ftparchive": "apt-utils", "gpg": "gnupg", "apt-get": "apt"}


@dataclass(frozen=True)
class Repository:
    """A row of archives.toml: where it claims to be, and which stanzas it has."""

    uri: str
    suite: str
    components: tuple[str, ...]
    origin: str
    label: str
    files: tuple[str, ...]
    only: str = ""
    automatic: bool = True
    later: str = ""

    def shown(self, beyond: Collection[str]) -> tuple[str, ...]:
        """The components that a host names: of a distribution's only `beyond` what every installation has."""
        if ".invalid/" not in self.uri:
            return self.components
        return tuple(name for name in self.components if name in EVERYWHERE or name in beyond)

    def stanzas(self, later: bool) -> list[Stanza]:
        """Its packages, in all versions; those of later only with `later`."""
        found = [stanza for name in self.files for stanza in read((DATA / f"{name}.deb822").read_text())]
        here = [stanza for stanza in found if stanza.suite.startswith(self.only)]
        return here if later else [s for s in here if not s.later and not self._comes_later(s)]

    def _comes_later(self, stanza: Stanza) -> bool:
        return bool(self.later) and stanza.name.startswith(self.later)


def repositories() -> list[Repository]:
    """All that are known."""
    rows = tomllib.loads((DATA / "archives.toml").read_text())["archive"]
    return [
        Repository(
            row["uri"],
            row["suite"],
            tuple(row.get("components", ())),
            row["origin"],
            row.get("label", row["origin"]),
            tuple(row["files"]),
            row.get("only", ""),
            row.get("automatic", True),
            row.get("later", ""),
        )
        for row in rows
    ]


def missing_tools() -> list[str]:
    """Packages of this machine that building needs and that are not there."""
    return [package for tool, package in NEEDS.items() if shutil.which(tool) is None]


@dataclass
class Archive:
    """Built repositories below `root`, as files to be served by URL.

    `verified`: what apt-get update fetched and checked, by sources.
    """

    root: Path
    verified: dict[tuple[str, bool], Path] = field(default_factory=dict)
    _built: dict[tuple[str, str, bool], dict[str, Path]] = field(default_factory=dict)
    _debs: dict[tuple[str, str], Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        home = self.root / "gnupg"
        home.mkdir(mode=0o700, parents=True)
        self._gpg("--passphrase", "", "--quick-generate-key", "stub archive", "ed25519", "sign", "never")
        self.keyring = self.root / "stub.gpg"
        self.keyring.write_bytes(self._gpg("--export"))

    def build(self, repository: Repository, later: bool) -> dict[str, Path]:
        """Its files by URL; `later` adds what the archive gets after the host was provisioned."""
        key = (repository.uri, repository.suite, later)
        if key not in self._built:
            self._built[key] = self._build(repository, later)
        return self._built[key]

    def close(self) -> None:
        """Ends the agent that gpg started for its directory."""
        subprocess.run(["gpgconf", "--homedir", self.root / "gnupg", "--kill", "all"], check=True)

    def _build(self, repository: Repository, later: bool) -> dict[str, Path]:
        place = self.root / f"repository-{len(self._built)}"
        flat = repository.suite == "/"
        top = place if flat else place / "dists" / repository.suite
        indexes = [top] if flat else [top / name / "binary-amd64" for name in repository.components]
        for index in indexes:
            index.mkdir(parents=True)
            part = "" if flat else index.parent.name
            wanted = [s for s in repository.stanzas(later) if not s.suite or s.suite.endswith(f"/{part}")]
            pool = place / "pool" / part
            pool.mkdir(parents=True)
            for stanza in wanted:
                deb = self._deb(stanza)
                os.link(deb, pool / deb.name)
            packages = _run("apt-ftparchive", "packages", f"pool/{part}".rstrip("/"), cwd=place)
            (index / "Packages").write_bytes(packages)
        about = {"Origin": repository.origin, "Label": repository.label}
        if not flat:
            about |= {"Suite": repository.suite, "Codename": repository.suite, "Architectures": "amd64"}
            about["Components"] = " ".join(repository.components)
        if not repository.automatic:
            about |= {"NotAutomatic": "yes", "ButAutomaticUpgrades": "yes"}
        options = [f"-oAPT::FTPArchive::Release::{name}={value}" for name, value in about.items()]
        release = _run("apt-ftparchive", *options, "release", ".", cwd=top)
        signed = self._gpg("--clearsign", data=release)
        (top / "InRelease").write_bytes(signed)
        base = repository.uri.replace("https://", "http://").rstrip("/")
        return {f"{base}/{path.relative_to(place)}": path for path in place.rglob("*") if path.is_file()}

    def _deb(self, stanza: Stanza) -> Path:
        key = (stanza.name, stanza.version)
        if key not in self._debs:
            source = self.root / "deb" / f"{len(self._debs)}"
            (source / "DEBIAN").mkdir(parents=True)
            (source / "DEBIAN/control").write_text(stanza.control())
            if stanza.preferences:
                preferences = source / "etc/apt/preferences.d" / stanza.name
                preferences.parent.mkdir(parents=True)
                preferences.write_text(stanza.preferences.replace(" | ", "\n") + "\n")
            deb = (
                self.root
                / "deb"
                / f"{stanza.name}_{stanza.version.replace(':', '%3a')}_{len(self._debs)}.deb"
            )
            _run("dpkg-deb", "--root-owner-group", "-Znone", "--build", str(source), str(deb), cwd=self.root)
            self._debs[key] = deb
        return self._debs[key]

    def _gpg(self, *arguments: str, data: bytes = b"") -> bytes:
        home = str(self.root / "gnupg")
        return _run("gpg", "--homedir", home, "--batch", "--quiet", *arguments, cwd=self.root, data=data)


def _run(*command: str, cwd: Path, data: bytes = b"") -> bytes:
    done = subprocess.run(command, cwd=cwd, input=data, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode()}")
    return done.stdout
