"""A repository's key on a real host: taken from a TLS server, trusted only with the catalogue's fingerprint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gpuwright.plan.model import AptRepository
from tests.sandbox.files_server import Files, Served
from tests.sandbox.hosts import REPOSITORY, Sandbox

KEY = "/etc/apt/keyrings/gpuwright-stub.asc"
SOURCE = "/etc/apt/sources.list.d/gpuwright-stub.sources"
GENERATE = """
export GNUPGHOME=$(mktemp -d)
for name in one two; do
    gpg --batch --quiet --passphrase '' --quick-generate-key "$name@stub.example" ed25519 sign never 2>/dev/null
done
gpg --list-keys --with-colons one@stub.example | sed -n 's/^fpr:*//p' | tr -d :
echo @@@
gpg --armor --export one@stub.example
echo @@@
gpg --armor --export
"""


@pytest.fixture(scope="session")
def keys(prepared: Sandbox) -> tuple[str, bytes, bytes]:
    """A fingerprint, the file with its key, and a file with a second key beside it."""
    made = prepared.exec(str(prepared.hosts[-1]["name"]), GENERATE).stdout
    fingerprint, one, both = made.split("@@@\n")
    assert len(fingerprint.strip()) == 40, made
    return fingerprint.strip(), one.encode(), both.encode()


def add(sandbox: Sandbox, folder: Path, url: str, fingerprint: str) -> subprocess.CompletedProcess[str]:
    repository = AptRepository("stub", "http://stub.example/", "stable", ("main",), "amd64", url, fingerprint)
    file = folder / "deploy_repository.py"
    file.write_text(
        "from gpuwright.operations import repositories\n"
        "from gpuwright.plan.model import AptRepository\n"
        f"repositories.present(name='Stub', repositories=({repository!r},), _sudo=True)\n"
    )
    command = [str(Path(sys.executable).parent / "pyinfra"), str(sandbox.inventory), str(file), "-y"]
    command += ["--limit", str(sandbox.hosts[-1]["name"])]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_a_key_is_trusted_by_its_fingerprint_alone(
    prepared: Sandbox, files: Files, keys: tuple[str, bytes, bytes], tmp_path: Path
) -> None:
    host = str(prepared.hosts[-1]["name"])
    fingerprint, one, both = keys
    files.served["/one.asc"], files.served["/both.asc"] = Served(one), Served(both)
    for url, wanted in [
        (f"{files.url}/one.asc", "0" * 40),
        (f"{files.url}/both.asc", fingerprint),
        (f"{files.url}/none.asc", fingerprint),
    ]:
        refused = add(prepared, tmp_path, url, wanted)
        assert refused.returncode == 1
        assert "fingerprint" in refused.stderr or "404" in refused.stderr
        assert prepared.exec(host, f"ls {KEY} {KEY}.new {SOURCE} 2>/dev/null").stdout == ""
    try:
        added = add(prepared, tmp_path, f"{files.url}/one.asc", fingerprint)
        assert added.returncode == 0, added.stderr
        assert prepared.exec(host, f"cat {KEY}").stdout.encode() == one
        assert f"Signed-By: {KEY}" in prepared.exec(host, f"cat {SOURCE}").stdout
        again = add(prepared, tmp_path, f"{files.url}/one.asc", fingerprint)
        assert "No changes" in again.stderr
    finally:
        prepared.exec(host, f"rm -f {KEY} {SOURCE}")


def test_what_apt_reads_already_is_left_to_its_source(
    prepared: Sandbox, files: Files, keys: tuple[str, bytes, bytes], tmp_path: Path
) -> None:
    """One that is switched off, as an upgrade of the release leaves them, is not read."""
    host, (fingerprint, one, _) = str(prepared.hosts[-1]["name"]), keys
    files.served["/one.asc"] = Served(one)
    theirs = "/etc/apt/sources.list.d/theirs.sources"
    try:
        for enabled, expected in (("yes", ""), ("no", f"{SOURCE}\n")):
            text = f"Enabled: {enabled}\\nTypes: deb\\nURIs: http://stub.example\\nSuites: stable\\nComponents: main\\n"
            prepared.exec(host, f"printf '{text}' >{theirs}")
            added = add(prepared, tmp_path, f"{files.url}/one.asc", fingerprint)
            assert added.returncode == 0, added.stderr
            assert prepared.exec(host, f"ls {SOURCE} 2>/dev/null").stdout == expected
    finally:
        prepared.exec(host, f"rm -f {KEY} {SOURCE} {theirs}")
