"""Python wheels from this machine's package indexes, for another Python than the one that runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from gpuwright.errors import GpuwrightError

AT_ONCE = 16  # pip stores what it downloaded when it ends: so much is downloaded again after an interrupt


def pins(requirements: str) -> list[str]:
    """The lines `name==version --hash=sha256:...` of a requirements file."""
    lines = (line.strip() for line in requirements.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def version(requirements: str, name: str) -> str:
    """The pinned version of one package."""
    pinned = dict(pin.split()[0].split("==") for pin in pins(requirements))
    return pinned[name]


def download(
    requirements: str, python: str, glibc: int, store: Path, log: Path, progress: Callable[[str], None]
) -> None:
    """Bring the pinned wheels into `store`, a folder of theirs alone: for CPython on x86-64 with glibc 2.`glibc`.

    pip itself asks the indexes that its configuration names, and checks the hashes; what lies in `store` is
    not downloaded again. Raises GpuwrightError with pip's words where a wheel is not to be had.
    """
    wanted = pins(requirements)
    store.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    listed = store / "requirements.txt"
    for done in range(0, len(wanted), AT_ONCE):
        progress(f"wheels: {done} of {len(wanted)}")
        listed.write_text("\n".join(wanted[done : done + AT_ONCE]) + "\n")
        _pip_download(listed, python, glibc, store, log)


def _pip_download(listed: Path, python: str, glibc: int, store: Path, log: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
    ]
    command += ["--disable-pip-version-check", "--no-input", "--progress-bar=off", "--implementation=cp"]
    command += [f"--python-version={python}"]
    command += [f"--abi={abi}" for abi in (f"cp{python.replace('.', '')}", "abi3", "none")]
    command += [f"--platform={name}_x86_64" for name in _platforms(glibc)]
    command += [f"--dest={store}", f"--requirement={listed}"]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    with log.open("a") as stream:
        stream.write(run.stdout + run.stderr)
    if run.returncode != 0:
        errors = [line for line in run.stderr.splitlines() if line.startswith("ERROR: ")]
        raise GpuwrightError.of(
            "Python wheels",
            "pip could not download them: " + " ".join((errors or run.stderr.splitlines())[-2:]),
            "pip for this Python, and indexes in its configuration that have every pinned wheel"
            " (those of PyTorch for CPUs, `+cpu`, are in an index of PyTorch's own)",
            f"Read {log}; see `pip config list`.",
        )


def _platforms(glibc: int) -> list[str]:
    """Every platform tag that such a machine may install; pip does not derive the older ones."""
    return [
        *(f"manylinux_2_{minor}" for minor in range(5, glibc + 1)),
        "manylinux2014",
        "manylinux2010",
        "manylinux1",
    ]
