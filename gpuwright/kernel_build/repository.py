"""A signed apt repository in a folder: packages of kernels, for hosts to use as a deb822 source.

DIR/apt/ is what hosts get, see published.py; the private key lies beside it, in DIR/, where only its owner reads it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from gpuwright.errors import GpuwrightError
from gpuwright.kernel_build.builder import SECRETS, Builder
from gpuwright.kernel_build.compile import Package

NAME = "gpuwright-kernels"
ON_HOST = f"/srv/{NAME}"
# In the source that is written; wherever else it is served, a person says so. Unlike file: it lets apt keep a copy of
# what it installs, for a rollback, and of the index, which tells whether apt has read the present one.
PLACE = f"copy:{ON_HOST}"
PRIVATE_KEY = "private-key.asc"
_HOME = 'export GNUPGHOME="$SECRETS/gnupg"; mkdir -p -m 700 "$GNUPGHOME"\n'
_NEW_KEY = (
    _HOME
    + """
gpg --batch --quiet --passphrase '' --quick-generate-key "$NAME" ed25519 sign never
gpg --batch --quiet --armor --export-secret-keys
gpg --batch --quiet --armor --export
"""
)
_SIGN = (
    _HOME
    + """
printf '%s' "$KEY" | gpg --batch --quiet --import
printf '%s' "$RELEASE" | gpg --batch --quiet --clearsign
"""
)
# Each package under the name that it gets in the folder: a stanza says it.
_STANZAS = """
mkdir -p /build/pool
cd /build/pool
rm -f ./*.deb
printf '%s\\n' "$DEBS" | while read -r path file; do ln "$path" "$file"; done
apt-ftparchive packages .
"""
_PUBLIC = "-----BEGIN PGP PUBLIC KEY BLOCK-----"


@dataclass(frozen=True)
class Repository:
    """The folder of one release's kernels."""

    root: Path
    codename: str

    @property
    def apt(self) -> Path:
        """The part to serve."""
        return self.root / "apt"

    @property
    def public_key(self) -> Path:
        """What hosts verify with."""
        return self.apt / f"{NAME}.asc"

    @property
    def source_file(self) -> Path:
        """The deb822 source for hosts."""
        return self.apt / f"{NAME}.sources"

    def refuse_again(self, name: str, version: str) -> None:
        """GpuwrightError where this very version is there: apt would not tell a second one from the first."""
        if any(
            field_of(stanza, "Package") == name and field_of(stanza, "Version") == version
            for stanza in self._stanzas()
        ):
            raise GpuwrightError.of(
                f"{self.apt}",
                f"has {name} {version}",
                "a version that it does not have: hosts know packages by it",
                "Give the next --revision, or remove the files of this version.",
            )

    def add(self, builder: Builder, packages: Iterable[Package]) -> None:
        """Copy packages out of the builder, index, sign. The index comes last: it never names what is not there."""
        added = tuple(packages)
        self.apt.mkdir(parents=True, exist_ok=True)
        key = self._key(builder)
        for package in added:
            builder.fetch(package.path, self.apt / package.file)
        debs = "\n".join(f"{package.path} {package.file}" for package in added)
        fresh = stanzas(builder.run("apt-ftparchive", _STANZAS, debs=debs))
        index = "".join(f"{stanza}\n\n" for stanza in joined(self._stanzas(), fresh, self._files()))
        release = release_file(self.codename, {"Packages": index.encode()}, datetime.now(UTC))
        signed = builder.run("signing the repository", _SIGN, key=key, release=release, secrets=SECRETS)
        start = signed.index("-----BEGIN PGP SIGNED MESSAGE-----")
        _write(self.apt / "Packages", index)
        _write(self.apt / "Release", release)
        _write(self.apt / "InRelease", signed[start:] + "\n")
        _write(self.source_file, self.source(PLACE))

    def source(self, uri: str) -> str:
        """The deb822 source for a host, its key in it."""
        lines = self.public_key.read_text(encoding="ascii").strip().splitlines()
        key = "".join(f"\n {line or '.'}" for line in lines)
        return f"Types: deb\nURIs: {uri}\nSuites: ./\nSigned-By:{key}\n"

    def _key(self, builder: Builder) -> str:
        """The repository's private key, made once."""
        path = self.root / PRIVATE_KEY
        if path.exists():
            return path.read_text(encoding="ascii")
        said = builder.run("making the repository's key", _NEW_KEY, name=NAME, secrets=SECRETS)
        private, _, public = said.partition(_PUBLIC)
        private = private[private.index("-----BEGIN PGP PRIVATE KEY BLOCK-----") :]
        _write(self.public_key, f"{_PUBLIC}{public}\n")
        _write(self.root / ".gitignore", "# a private key and large files\n*\n")
        _write(path, private, mode=0o600)
        return private

    def _stanzas(self) -> list[str]:
        index = self.apt / "Packages"
        return stanzas(index.read_text(encoding="utf-8")) if index.exists() else []

    def _files(self) -> set[str]:
        return {path.name for path in self.apt.glob("*.deb")}


def stanzas(text: str) -> list[str]:
    """The paragraphs of an index."""
    return [part.strip("\n") for part in text.split("\n\n") if part.strip()]


def joined(old: Iterable[str], new: Iterable[str], files: set[str]) -> list[str]:
    """Both, without those whose file is gone, each file once: the new wins."""
    found = {field_of(stanza, "Filename").removeprefix("./"): stanza for stanza in (*old, *new)}
    return [found[name] for name in sorted(found.keys() & files)]


def release_file(codename: str, indexes: dict[str, bytes], at: datetime) -> str:
    """The Release file over the indexes."""
    sums = "".join(
        f" {hashlib.sha256(content).hexdigest()} {len(content)} {name}\n" for name, content in indexes.items()
    )
    date = format_datetime(at.astimezone(UTC), usegmt=True).replace("GMT", "UTC")
    about = f"Origin: {NAME}\nLabel: {NAME}\nSuite: {codename}\nCodename: {codename}\nDate: {date}\n"
    return f"{about}Description: kernels built by gpuwright\nSHA256:\n{sums}"


def field_of(stanza: str, name: str) -> str:
    """A field of one line; "" where the paragraph lacks it."""
    lines = (line for line in stanza.splitlines() if line.startswith(f"{name}: "))
    return next(lines, f"{name}: ").removeprefix(f"{name}: ").strip()


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    """Beside it first, then renamed."""
    beside = path.with_name(f".{path.name}.part")
    beside.unlink(missing_ok=True)
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
