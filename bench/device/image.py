"""A container image without any registry: programs of this machine, the libraries that ldd names, and the loader."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from bench.device.cdi import LIBRARIES
from bench.device.daemon import Daemon

# CDI brings what is the driver's.
_DRIVER = re.compile(r"lib(?:cuda|nvidia-[\w-]+)\.so\.")
_LINE = re.compile(r"^\s*(?:(\S+) => )?(/\S+) \(0x", re.M)


def make(daemon: Daemon, root: Path, programs: Mapping[str, Path], entrypoint: str, tag: str) -> str:
    """Fill `root` and import it; the image's id. `programs` by their path in it; RuntimeError for what is missing."""
    shutil.rmtree(root, ignore_errors=True)
    for name in ("usr/bin", LIBRARIES.lstrip("/"), "usr/lib64", "tmp", "dev", "proc", "sys", "run", "etc"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    for inside, program in programs.items():
        shutil.copy(program, root / inside.lstrip("/"))
        for library, path in libraries(program).items():
            directory = "usr/lib64" if library.startswith("ld-linux") else LIBRARIES.lstrip("/")
            if not (root / directory / library).exists():
                shutil.copy(path.resolve(), root / directory / library)
    change = f'ENTRYPOINT ["{entrypoint}"]'
    with subprocess.Popen(
        ["tar", "c", "-C", str(root), "--owner=0", "--group=0", "."], stdout=subprocess.PIPE
    ) as tar:
        done = subprocess.run(
            [daemon.docker, "import", "--change", change, "-", tag],
            env=daemon.environment,
            stdin=tar.stdout,
            capture_output=True,
            text=True,
            check=False,
        )
    shutil.rmtree(root)
    if done.returncode or tar.returncode:
        raise RuntimeError(f"docker import: {done.stderr.strip()}, tar: {tar.returncode}")
    return done.stdout.strip()


def libraries(program: Path) -> dict[str, Path]:
    """By the name that is asked for, all but the driver's."""
    text = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    missing = [name for name in re.findall(r"(\S+) => not found", text) if not _DRIVER.match(name)]
    if missing:
        raise RuntimeError(f"{program} wants {', '.join(missing)}")
    found = {name or Path(path).name: Path(path) for name, path in _LINE.findall(text)}
    return {name: path for name, path in found.items() if not _DRIVER.match(name)}
