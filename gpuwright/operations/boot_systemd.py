"""systemd-boot: an entry file for each kernel, made by kernel-install; the choice is in EFI variables."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from pyinfra import host
from pyinfra.api import FactBase
from pyinfra.api.command import StringCommand
from typing_extensions import override

from gpuwright.errors import GpuwrightError
from gpuwright.operations.boot_facts import Booted
from gpuwright.operations.boot_menu import (
    FALLBACK,
    TRIAL,
    Entry,
    Menu,
    is_open,
    lacking,
    mark_of,
    trial_words,
    words_of,
)
from gpuwright.operations.root_shell import RootShell
from gpuwright.operations.shell import script

CMDLINE = "/etc/kernel/cmdline"
# The words in it that are ours, so that one that is dropped can be taken out again.
OUR_WORDS = "/etc/gpuwright/kernel-words"
_SUFFIX = ".conf"


@dataclass(frozen=True)
class SystemdBootReading:
    """`listing` is what `bootctl list` says of entry files, `paths` and `armed` (trial marks) go by their ids.

    `cmdline` is () without the file.
    """

    listing: tuple[Entry, ...]
    paths: dict[str, str]
    armed: dict[str, str]
    default: str
    once: str
    cmdline: tuple[str, ...]
    ours: tuple[str, ...]

    def merged(self, words: tuple[str, ...], running: str) -> tuple[str, ...]:
        """The command line with `words`, without those of ours that are not wanted any more.

        Without the file, kernel-install takes what runs.
        """
        base = self.cmdline or words_of(running)
        kept = tuple(word for word in base if word not in self.ours or word in words)
        return kept + lacking(words, kept)

    def without(self, words: tuple[str, ...]) -> tuple[str, ...]:
        """Releases whose entries lack one of `words`."""
        return tuple(
            entry.release for entry in self.listing if _of_kernel(entry) and lacking(words, entry.words)
        )


class SystemdBoot(FactBase[SystemdBootReading]):
    """systemd-boot's entries and choices, and the settings that kernel-install makes entries from."""

    @override
    def command(self) -> StringCommand:
        return script(
            r"""
            echo "list $(bootctl list --json=short --no-pager | tr '\n' ' ')"
            for name in LoaderEntryDefault LoaderEntryOneShot; do
                for file in /sys/firmware/efi/efivars/"$name"-*; do
                    if [ -e "$file" ]; then echo "$name $(tail -c +5 "$file" | tr -d '\000')"; fi
                done
            done
            if [ -e "$1" ]; then sed 's/^/cmdline /' "$1"; fi
            if [ -e "$2" ]; then sed 's/^/ours /' "$2"; fi
            """,
            CMDLINE,
            OUR_WORDS,
        )

    @override
    @staticmethod
    def default() -> SystemdBootReading:
        return SystemdBootReading((), {}, {}, "", "", (), ())

    @override
    def process(self, output: list[str]) -> SystemdBootReading:
        return parse_reading(output)


class SystemdBootLoader:
    """systemd-boot on the host in context."""

    def menu(self) -> Menu:
        """What can boot, and what will."""
        reading = self._read()
        entries = tuple(entry for entry in reading.listing if _of_kernel(entry))
        tried = [reading.armed[entry.id] for entry in reading.listing if entry.id == TRIAL + _SUFFIX]
        return Menu(entries, reading.default, reading.once, tried[0] if tried else "")

    def keep(self, shell: RootShell, running: Booted) -> None:
        """Let what runs boot by default, from an entry that no kernel-install changes."""
        if not is_open(running.cmdline, self.menu()):
            self._copy(shell, self._of(running.release), FALLBACK, words_of(running.cmdline))
        _checked(shell, 'bootctl set-default "$1"', FALLBACK + _SUFFIX)

    def arm(self, shell: RootShell, entry: Entry, running: Booted, *, once: bool) -> None:
        """Let `entry` boot next time, once only or until it is settled."""
        self.keep(shell, running)
        self._copy(shell, entry, TRIAL, (*entry.words, *trial_words(running.boot_id)))
        _checked(shell, f'bootctl {"set-oneshot" if once else "set-default"} "$1"', TRIAL + _SUFFIX)

    def settle(self, shell: RootShell, entry_id: str) -> None:
        """Let an entry of the menu boot from now on, and forget the trial's."""
        paths = self._read().paths
        _checked(shell, 'bootctl set-default "$1" && bootctl set-oneshot ""', entry_id)
        own = [path for name in (FALLBACK, TRIAL) if (path := paths.get(name + _SUFFIX))]
        if own:
            _checked(shell, 'rm -f "$@"', *own)

    def _read(self) -> SystemdBootReading:
        reading: SystemdBootReading = host.get_fact(SystemdBoot)
        return reading

    def _of(self, release: str) -> Entry:
        entry = self.menu().of(release)
        if entry is None:
            raise GpuwrightError.of(
                f"kernel {release}",
                "it runs, and systemd-boot has no entry file for it",
                "a kernel to come back to (a unified kernel image cannot be given other words)",
                "Make one with kernel-install add; then run again.",
            )
        return entry

    def _copy(self, shell: RootShell, entry: Entry, name: str, words: tuple[str, ...]) -> None:
        _checked(
            shell,
            """
            new=${1%/*}/$2.conf
            grep -v -e '^options' -e '^title' "$1" >"$new.part" || exit
            printf 'title gpuwright: %s\\noptions %s\\n' "$2" "$3" >>"$new.part" || exit
            sync "$new.part" && mv -f -T "$new.part" "$new"
            """,
            self._read().paths[entry.id],
            name,
            " ".join(f'"{word}"' if " " in word else word for word in words),
        )


def parse_reading(output: Iterable[str]) -> SystemdBootReading:
    """Lines that begin with what they are from. Raises ValueError for another word, or no JSON from bootctl."""
    found: dict[str, list[str]] = {
        "list": [], "LoaderEntryDefault": [], "LoaderEntryOneShot": [], "cmdline": [], "ours": [],
    }  # fmt: skip
    for line in output:
        kind, _, rest = line.partition(" ")
        if kind not in found:
            raise ValueError(f"not of systemd-boot: {line!r}")
        found[kind].append(rest)
    entries, paths, armed = [], {}, {}
    for row in json.loads(" ".join(found["list"]).strip() or "[]"):
        if row.get("type") != "type1" or not row.get("linux") or not row.get("version"):
            continue
        entry_id = str(row["id"])
        words = words_of(str(row.get("options") or ""))
        entries.append(Entry(entry_id, str(row["version"]), words, (), first=False))
        paths[entry_id] = str(row["path"])
        armed[entry_id] = mark_of(str(row.get("options") or "").split())
    return SystemdBootReading(
        tuple(entries),
        paths,
        armed,
        "".join(found["LoaderEntryDefault"]),
        "".join(found["LoaderEntryOneShot"]),
        words_of(" ".join(found["cmdline"])),
        tuple(word for word in found["ours"] if word),
    )


def _of_kernel(entry: Entry) -> bool:
    return entry.id not in (FALLBACK + _SUFFIX, TRIAL + _SUFFIX)


def _checked(shell: RootShell, text: str, *arguments: str) -> None:
    done = shell.run(text, *arguments)
    if not done.ok:
        raise GpuwrightError.of(
            "systemd-boot",
            f"its choice could not be changed ({done.last})",
            "bootctl, and an EFI system partition and variables that root can write",
            "Mount the EFI system partition, then run again.",
        )
