"""Fact: the kernels that a host could boot next, and what a driver's module looks like in each of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyinfra.api import FactBase
from pyinfra.api.command import StringCommand
from typing_extensions import override

from gpuwright.operations.shell import fields, script

# $1: the package of the planned kernel or ""; $2: the module; $3: modules that must not be in the initramfs.
# Prints a line of ten fields for each kernel, in the order of NextKernel's.
SCRIPT = """
package=$1 module=$2 rivals=$3
PATH=$PATH:/usr/sbin:/sbin
planned=
if [ -n "$package" ]; then
    planned=$(dpkg-query --show --showformat='${Depends}' "$package" 2>/dev/null |
        tr ',|' '\\n\\n' | sed -n 's/^ *linux-image-\\([0-9][^ ]*\\).*/\\1/p' | head -n 1)
    case $package in linux-image-[0-9]*) [ -n "$planned" ] || planned=${package#linux-image-} ;; esac
fi
newest=$(ls /boot/vmlinuz-* 2>/dev/null | sed 's|.*/vmlinuz-||' | sort -V | tail -n 1)
running=$(uname -r)
for kernel in $(printf '%s\\n' "$running" "$planned" "$newest" | grep . | awk '!seen[$0]++'); do
    [ -d "/lib/modules/$kernel/kernel" ] || continue
    why=
    [ "$kernel" != "$running" ] || why="$why running"
    [ "$kernel" != "$planned" ] || why="$why planned"
    [ "$kernel" != "$newest" ] || why="$why newest"
    headers=no image=no initrd=no stale=no rival= file= version= signer=
    [ ! -e "/lib/modules/$kernel/build/Makefile" ] || headers=yes
    [ ! -e "/boot/vmlinuz-$kernel" ] || image=yes
    initramfs=/boot/initrd.img-$kernel
    if [ -e "$initramfs" ]; then
        initrd=yes
        if [ -n "$(find /etc/modprobe.d -name 'gpuwright-*' -newer "$initramfs")" ]; then stale=yes; fi
        if [ -n "$rivals" ] && command -v lsinitramfs >/dev/null; then
            files=$(lsinitramfs "$initramfs")
            for name in $rivals; do
                # A module in there is harmless where the file that forbids it lies beside it.
                if printf '%s\\n' "$files" | grep -qE "/$name\\.ko" &&
                    ! printf '%s\\n' "$files" | grep -q 'etc/modprobe.d/gpuwright-'; then rival="$rival $name"; fi
            done
        fi
    fi
    if [ -n "$module" ] && file=$(modinfo -k "$kernel" -F filename "$module" 2>/dev/null); then
        version=$(modinfo -k "$kernel" -F version "$module")
        signer=$(modinfo -k "$kernel" -F signer "$module")
    fi
    printf '%s\\t%s\\t%s\\t%s\\t%s\\t' "$kernel" "${why# }" "$headers" "$image" "$initrd"
    printf '%s\\t%s\\t%s\\t%s\\t%s\\n' "$stale" "$file" "$version" "$signer" "${rival# }"
done
"""


@dataclass(frozen=True)
class NextKernel:
    """A kernel with modules on the disk; `why` are words of running, planned, newest.

    `stale`: its initramfs is older than our modprobe configuration. `file` is the module's, "" where it has none;
    `signer` "" where it is not signed. `rivals` are modules in the initramfs that would take the card.
    """

    release: str
    why: tuple[str, ...]
    headers: bool
    image: bool
    initramfs: bool
    stale: bool
    file: str
    version: str
    signer: str
    rivals: tuple[str, ...]


class NextKernels(FactBase[list[NextKernel]]):
    """The kernel that runs, the planned one and the newest in /boot: no other boots without a person at the console."""

    @override
    def command(self, image: str, module: str, rivals: tuple[str, ...]) -> StringCommand:
        return script(SCRIPT, image, module, " ".join(rivals))

    @override
    @staticmethod
    def default() -> list[NextKernel]:
        return []

    @override
    def process(self, output: list[str]) -> list[NextKernel]:
        return list(parse(output))


def parse(lines: Iterable[str]) -> Iterable[NextKernel]:
    """One kernel a line. Raises ValueError for one that was cut off."""
    for release, why, headers, image, initrd, stale, file, version, signer, rivals in fields(lines, 10):
        yield NextKernel(
            release,
            tuple(why.split()),
            headers == "yes",
            image == "yes",
            initrd == "yes",
            stale == "yes",
            file,
            version,
            signer,
            tuple(rivals.split()),
        )
