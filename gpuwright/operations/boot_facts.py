"""Readings about the boot: what runs, what is installed to boot, and whether a boot went well."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api import FactBase
from pyinfra.api.command import StringCommand
from typing_extensions import override

from gpuwright.operations.readings import Lines, Pairs
from gpuwright.operations.shell import script


@dataclass(frozen=True)
class Booted:
    """The kernel that runs, its command line, and the id that each boot has of its own."""

    release: str
    cmdline: str
    boot_id: str


class Running(FactBase[Booted]):
    """What was booted; empty where nobody answers."""

    @override
    def command(self) -> StringCommand:
        return script("uname -r && cat /proc/cmdline /proc/sys/kernel/random/boot_id")

    @override
    @staticmethod
    def default() -> Booted:
        return Booted("", "", "")

    @override
    def process(self, output: list[str]) -> Booted:
        return parse_running(output)


class KernelPackages(Pairs):
    """Installed packages that `image` leads to, and what each depends on."""

    @override
    def command(self, image: str) -> StringCommand:
        # Debian's metapackage names the kernel itself, Ubuntu's names another one that does.
        return script(
            r"""
            names=$1
            for _ in 1 2 3 4; do
                next=
                for name in $names; do
                    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$name" 2>/dev/null) || continue
                    [ "$status" = installed ] || continue
                    depends=$(dpkg-query --show --showformat='${Depends}' "$name") || exit
                    printf '%s\t%s\n' "$name" "$depends"
                    words=$(printf '%s' "$depends" | sed 's/([^)]*)//g; s/[|,]/ /g; s/:[a-z0-9]*//g')
                    for word in $words; do case $word in linux-*) next="$next $word" ;; esac; done
                done
                names=$next
            done
            """,
            image,
        )


class KernelStamp(Lines):
    """One digest of the kernel's, its initramfs' and its modules' size and time: another build, another digest."""

    @override
    def command(self, release: str) -> StringCommand:
        return script(
            """
            modules=/lib/modules/$1
            for file in "/boot/vmlinuz-$1" "/boot/initrd.img-$1" "$modules/vmlinuz" "$modules/modules.dep"; do
                if [ -e "$file" ]; then stat -L -c '%n %s %Y' "$file" || exit; fi
            done | sha256sum | cut -d ' ' -f 1
            """,
            release,
        )


class MissingModules(Lines):
    """Those of `names` that the kernel `release` has no module for, and another one has.

    What no kernel has comes later: the role of the driver follows the boot.
    """

    @override
    def command(self, release: str, names: tuple[str, ...]) -> StringCommand:
        return script(
            """
            PATH="$PATH:/usr/sbin:/sbin"
            release=$1; shift
            for name; do
                modinfo -k "$release" "$name" >/dev/null 2>&1 && continue
                for other in /lib/modules/*; do
                    if modinfo -k "${other##*/}" "$name" >/dev/null 2>&1; then
                        echo "$name"
                        break
                    fi
                done
            done
            """,
            release,
            *names,
        )


class FailedUnits(Lines):
    """Names of the units that systemd calls failed."""

    @override
    def command(self) -> StringCommand:
        return script("systemctl list-units --state=failed --plain --no-legend --no-pager | cut -d ' ' -f 1")


def parse_running(output: list[str]) -> Booted:
    """uname -r, the command line and the boot id. Raises ValueError for an answer that was cut off."""
    if len(output) != 3 or not all(line.strip() for line in (output[0], output[2])):
        raise ValueError(f"expected a release, a command line and a boot id, got {output!r}")
    return Booted(output[0].strip(), output[1].strip(), output[2].strip())
