"""A mirror in the place of NVIDIA's repository, on a real host: apt reads it, by https or as files, and nothing else.

The repository is the stub of stub_driver.py, under a key of its own; nothing is installed from it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuwright import catalog
from gpuwright.plan.nvidia.mirror import MirroredRepository
from tests.sandbox.driver_hosts import DRIVER
from tests.sandbox.files_server import Files, Served
from tests.sandbox.hosts import REPOSITORY, Sandbox
from tests.sandbox.stub_driver import StubDriver

FOLDER = "/compute/cuda/repos/debian13/x86_64"
THEIRS = "/etc/apt/sources.list.d/cuda-debian13-x86_64.list"
OURS = "/etc/apt/sources.list.d/gpuwright-nvidia-cuda.sources"
KEY = "/etc/apt/keyrings/gpuwright-nvidia-cuda.asc"
ROW = catalog.load().nvidia.repository("debian 13", "x86_64")
assert ROW is not None
PUBLIC = ROW.uri


@pytest.fixture
def stub(prepared: Sandbox, files: Files, tmp_path: Path) -> Iterator[StubDriver]:
    made = StubDriver(tmp_path / "stub", files)
    made.publish("debian 13", [DRIVER])
    files.served[f"{FOLDER}/stub.asc"] = Served(made.key().encode())
    host = str(prepared.hosts[-1]["name"])
    prepared.exec(host, f"echo 'deb [trusted=yes] {PUBLIC} /' >{THEIRS}")
    yield made
    prepared.exec(host, f"rm -rf {THEIRS} {OURS} {KEY} /etc/gpuwright/mirrored /srv/cuda")
    made.close()


def fingerprint(key: str) -> str:
    done = subprocess.run(
        ["gpg", "--show-keys", "--with-colons"], input=key, capture_output=True, text=True, check=True
    )
    return str(re.findall(r"^fpr:*(\w{40}):", done.stdout, flags=re.MULTILINE)[0])


def take(sandbox: Sandbox, folder: Path, base: str, key: str) -> subprocess.CompletedProcess[str]:
    place = f"{base}{FOLDER}/"
    repository = MirroredRepository(
        "nvidia-cuda", place, "/", (), "amd64", f"{place}stub.asc", fingerprint(key), public=PUBLIC
    )
    file = folder / "deploy_mirror.py"
    file.write_text(
        "from gpuwright.operations import nvidia_sources\n"
        "from gpuwright.plan.nvidia.mirror import MirroredRepository\n"
        f"each = ({repository!r},)\n"
        "nvidia_sources.present(name='Repositories', places=each, lock_timeout_s=60, _sudo=True)\n"
    )
    command = [str(Path(sys.executable).parent / "pyinfra"), str(sandbox.inventory), str(file), "-y"]
    command += ["--limit", str(sandbox.hosts[-1]["name"])]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_apt_reads_the_mirror_and_the_public_place_no_more(
    prepared: Sandbox, stub: StubDriver, files: Files, tmp_path: Path
) -> None:
    host = str(prepared.hosts[-1]["name"])
    paths = " ".join(path for path in files.served if path.startswith(FOLDER))
    copy = f"for path in {paths}; do curl --path-as-is -sSfO '{files.url}'$path || exit; done"
    done = prepared.exec(host, f"mkdir -p /srv/cuda{FOLDER} && cd /srv/cuda{FOLDER} && {copy}")
    assert done.returncode == 0, done.stderr
    for base in (files.url, "file:/srv/cuda"):
        taken = take(prepared, tmp_path, base, stub.key())
        assert taken.returncode == 0, taken.stderr
        assert "No changes" in take(prepared, tmp_path, base, stub.key()).stderr
        assert PUBLIC in prepared.exec(host, f"ls {THEIRS}; cat /etc/gpuwright/mirrored{THEIRS}").stdout
        updated = prepared.exec(host, "apt-get -q update -o APT::Update::Error-Mode=any && apt-cache policy")
        assert updated.returncode == 0, updated.stdout + updated.stderr
        assert f"{base}{FOLDER}" in updated.stdout and "developer.download" not in updated.stdout
        assert DRIVER.version in prepared.exec(host, "apt-cache madison nvidia-driver-cuda").stdout
        prepared.exec(host, f"rm -f {KEY}; echo 'deb [trusted=yes] {PUBLIC} /' >{THEIRS}")
