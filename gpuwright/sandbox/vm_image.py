"""The base disk of a VM: Debian with its own kernel and GRUB, built once from packages, found by its recipe's hash."""

from __future__ import annotations

import os
import platform
import shutil
import struct
import subprocess
import tempfile
import uuid
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import BinaryIO

from gpuwright.errors import GpuwrightError
from gpuwright.sandbox import mirrors, root_tar
from gpuwright.sandbox.recipe import PACKAGES, Recipe, recipe

# What a server that boots by itself has beyond a container: its own kernel, and how it starts.
MACHINE_PACKAGES = ("udev", "linux-image-amd64", "initramfs-tools", "zstd", "e2fsprogs", "grub-pc")
# A small initramfs, and no second name for each kernel. Before packages are configured: it is made then.
_BEFORE = """
mkdir -p "$1/etc/initramfs-tools/conf.d"
printf 'MODULES=list\\nCOMPRESS=zstd\\nCOMPRESSLEVEL=1\\n' > "$1/etc/initramfs-tools/conf.d/sandbox"
printf 'virtio_pci\\nvirtio_blk\\next4\\n' > "$1/etc/initramfs-tools/modules"
printf 'do_symlinks = no\\n' > "$1/etc/kernel-img.conf"
"""
SIZE = 8 << 30
SECTOR = 512
START = 2048  # the partition's first sector; GRUB's second stage lies before it
_TOOLS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
}


def of(os_name: str) -> Recipe:
    """The recipe of a release's base disk. Raises GpuwrightError for an unknown one, or on another architecture."""
    if platform.machine() != "x86_64":
        raise GpuwrightError.of(
            "sandbox --vm",
            f"this machine is {platform.machine()}",
            "x86_64",
            "Leave --vm out: containers run.",
        )
    of_container = recipe(os_name, mirrors.from_machine(), mirrors.apt_options())
    setup = files("gpuwright.sandbox").joinpath("vm_setup.sh").read_text()
    packages = tuple(name for name in PACKAGES if name != "kmod") + MACHINE_PACKAGES
    return replace(of_container, packages=packages, setup=setup + _BEFORE)


def path(wanted: Recipe, cache: Path) -> Path:
    """Where the disk of exactly this recipe lies, or will."""
    return cache / f"vm-{wanted.os}-{wanted.digest}.raw"


def ensure(wanted: Recipe, cache: Path) -> Path:
    """The base disk, after building it where it is missing (about 3 minutes, 150 MB of downloads, 1 GB of disk)."""
    disk = path(wanted, cache)
    if not disk.exists():
        need_tools()
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="vm-") as scratch:
            Path(scratch).chmod(0o755)
            _build(wanted, Path(scratch), cache / f"vm-{wanted.os}.log").replace(disk)
    return disk


def need_tools() -> None:
    """Raise GpuwrightError that names the missing programs' packages."""
    search = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = {tool: package for tool, package in _TOOLS.items() if shutil.which(tool, path=search) is None}
    if missing:
        raise GpuwrightError.of(
            "sandbox --vm",
            f"not installed here: {', '.join(missing)}",
            "QEMU and what makes a disk",
            f"apt-get install {' '.join(missing.values())}",
        )


def _build(wanted: Recipe, scratch: Path, log: Path) -> Path:
    archive, disk, identity = scratch / "root.tar", scratch / "disk.raw", str(uuid.uuid4())
    setup = wanted.setup.removesuffix(_BEFORE).replace("@UUID@", identity)
    arguments = [
        "--variant=minbase",
        f"--include={','.join(wanted.packages)}",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        f"--essential-hook={_BEFORE}",
        f"--customize-hook={setup}",
    ]
    root_tar.make(archive, wanted.suite, wanted.sources, wanted.apt_options, arguments, log)
    with disk.open("wb") as stream:
        stream.truncate(SIZE)
    script = files("gpuwright.sandbox").joinpath("vm_disk.sh").read_text()
    as_root = [] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--map-auto"]
    values = (archive, disk, START * SECTOR, (SIZE - START * SECTOR) >> 10, identity, scratch)
    done = subprocess.run(
        [*as_root, "sh", "-c", script, "sh", *map(str, values)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise GpuwrightError.of(
            f"base disk of {wanted.os}",
            f"could not be made ({done.stderr.strip()[-300:]})",
            f"{SIZE >> 30} GiB of sparse disk in {scratch.parent}, and user namespaces where you are not root",
            "Free some space, or run it as root.",
        )
    with disk.open("r+b") as stream:
        write_boot_sectors(stream, (scratch / "boot.img").read_bytes(), (scratch / "core.img").read_bytes())
    return disk


def write_boot_sectors(stream: BinaryIO, boot: bytes, core: bytes) -> None:
    """What grub-install writes: boot.img's code and one bootable partition in sector 0, core.img from sector 1 on.

    boot.img loads sector 1 unless told otherwise, and grub-mkimage leaves in core.img how long it is.
    Raises ValueError for a core.img that reaches into the partition.
    """
    if SECTOR + len(core) > START * SECTOR:
        raise ValueError(f"core.img is too long: {len(core)} bytes")
    anywhere = b"\xfe\xff\xff"  # a CHS address that means: use the LBA one
    length = SIZE // SECTOR - START
    partition = struct.pack("<B3sB3sII", 0x80, anywhere, 0x83, anywhere, START, length)
    stream.seek(0)
    stream.write(boot[:440])
    stream.seek(446)
    stream.write(partition.ljust(64, b"\0") + b"\x55\xaa")
    stream.write(core)
