"""GRUB: its menu in grub.cfg, its choice in grubenv, and two entries of our own beside them.

A trial must not change what boots without it, so the kernel and words that run now become an entry of their own, the
default, before anything else changes; a kernel that panics, or a power cut, comes back to it by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from pyinfra import host
from pyinfra.api import FactBase
from pyinfra.api.command import StringCommand
from typing_extensions import override

from gpuwright.errors import GpuwrightError
from gpuwright.operations.boot_facts import Booted
from gpuwright.operations.boot_grub_menu import HEAD, grub_quoted, parse_menu, rewritten
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
from gpuwright.plan.model import ManagedFile

OWN_MENU = "/boot/grub/gpuwright.cfg"
SETTINGS = "/etc/default/grub.d/90-gpuwright.cfg"
GENERATOR = "/etc/grub.d/42_gpuwright"
_MADE_FROM = "# gpuwright settings "


@dataclass(frozen=True)
class GrubReading:
    """`environment` is grubenv, `config` grub.cfg, `own` our entries; `overruling` sets the command line after us."""

    environment: dict[str, str]
    config: tuple[str, ...]
    own: tuple[str, ...]
    overruling: tuple[str, ...] = ()

    @property
    def menu(self) -> Menu:
        """What it can boot. An entry that was chosen and is gone counts as none, as for GRUB."""
        env = self.environment
        tried = [entry.text for entry in parse_menu(self.own) if entry.id == TRIAL]
        armed = mark_of(" ".join(tried[0]).split()) if tried else ""
        return Menu(parse_menu(self.config), env.get("saved_entry", ""), env.get("next_entry", ""), armed)

    @property
    def made_from(self) -> str:
        """The settings that grub.cfg was made from: their digest, "" for none of ours."""
        noted = [line.removeprefix(_MADE_FROM) for line in self.config if line.startswith(_MADE_FROM)]
        return noted[-1].strip() if noted else ""

    def without(self, words: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
        """By kernel release, which of `words` GRUB's own entries lack; an administrator's are not ours to judge."""
        own = [entry for entry in self.menu.entries if entry.id.rpartition(">")[2].startswith("gnulinux-")]
        missing = {entry.release: lacking(words, entry.words) for entry in own}
        return {release: lacks for release, lacks in missing.items() if lacks}


class Grub(FactBase[GrubReading]):
    """GRUB's files; empty where there is none."""

    @override
    def command(self) -> StringCommand:
        return script(
            r"""
            tagged() { sed "s/^/$1 /" "$2"; }
            if [ -e /boot/grub/grubenv ]; then grub-editenv /boot/grub/grubenv list | sed 's/^/environment /'; fi
            if [ -e /boot/grub/grub.cfg ]; then tagged config /boot/grub/grub.cfg; fi
            if [ -e "$1" ]; then tagged own "$1"; fi
            for file in /etc/default/grub.d/*.cfg; do
                LC_ALL=C expr "x${file##*/}" \> "x${2##*/}" >/dev/null || continue
                if grep -q '^[^#]*GRUB_CMDLINE_LINUX_DEFAULT=' "$file"; then echo "overruling $file"; fi
            done
            """,
            OWN_MENU,
            SETTINGS,
        )

    @override
    @staticmethod
    def default() -> GrubReading:
        return GrubReading({}, (), ())

    @override
    def process(self, output: list[str]) -> GrubReading:
        return parse_reading(output)


@dataclass(frozen=True)
class SettingsText:
    """What the drop-in's template is rendered from: `words` quoted twice, for GRUB and for the shell."""

    words: str
    digest: str


class GrubLoader:
    """GRUB on the host in context."""

    def menu(self) -> Menu:
        """What can boot, and what will."""
        return self._read().menu

    def keep(self, shell: RootShell, running: Booted) -> None:
        """Let what runs boot by default, from an entry that no update-grub changes."""
        reading = self._read()
        if not is_open(running.cmdline, reading.menu):
            self._write(shell, [fallback(reading, running)])
        _choose(shell, FALLBACK)

    def arm(self, shell: RootShell, entry: Entry, running: Booted, *, once: bool) -> None:
        """Let `entry` boot next time: once only, or, where GRUB cannot write, until it is settled."""
        reading = self._read()
        tries = is_open(running.cmdline, reading.menu)
        back = own_fallback(reading) if tries else fallback(reading, running)
        self._write(shell, [back, trial(entry, running.boot_id)])
        _choose(shell, FALLBACK if once else TRIAL)
        if once:
            _checked(shell, 'grub-editenv /boot/grub/grubenv set next_entry="$1"', TRIAL)

    def settle(self, shell: RootShell, entry_id: str) -> None:
        """Let an entry of the menu boot from now on, and forget the trial's."""
        _choose(shell, entry_id)
        _checked(shell, 'grub-editenv /boot/grub/grubenv unset next_entry && rm -f "$1"', OWN_MENU)

    def _read(self) -> GrubReading:
        reading: GrubReading = host.get_fact(Grub)
        return reading

    def _write(self, shell: RootShell, entries: list[tuple[str, ...]]) -> None:
        lines = ["# Managed by gpuwright: what ran before, and what is tried."]
        text = "\n".join([*lines, *(line for entry in entries for line in entry)]) + "\n"
        _checked(
            shell,
            """
            printf %s "$2" >"$1.new" && grub-script-check "$1.new" && sync "$1.new" && mv -f -T "$1.new" "$1"
            """,
            OWN_MENU,
            text,
        )


def settings_files(words: tuple[str, ...]) -> tuple[ManagedFile, ...]:
    """What makes update-grub put `words` on every command line, and our part into grub.cfg."""
    inner = " ".join(grub_quoted(word) for word in words)
    context = SettingsText("'" + inner.replace("'", "'\\''") + "'" if inner else "", digest_of(words))
    return (
        ManagedFile(SETTINGS, "kernel/grub-settings.cfg.j2", context),
        ManagedFile(GENERATOR, "kernel/grub-menu.sh.j2", mode="0755"),
    )


def digest_of(words: tuple[str, ...]) -> str:
    """What grub.cfg notes of the words that it was made from."""
    return sha256("\0".join(words).encode()).hexdigest()[:16]


def parse_reading(output: list[str]) -> GrubReading:
    """Lines that begin with what they are from. Raises ValueError for another word."""
    found: dict[str, list[str]] = {"environment": [], "config": [], "own": [], "overruling": []}
    for line in output:
        kind, _, rest = line.partition(" ")
        if kind not in found:
            raise ValueError(f"not of GRUB: {line!r}")
        found[kind].append(rest)
    environment = dict(line.split("=", 1) for line in found["environment"] if "=" in line)
    return GrubReading(environment, tuple(found["config"]), tuple(found["own"]), tuple(found["overruling"]))


def fallback(reading: GrubReading, running: Booted) -> tuple[str, ...]:
    """An entry that boots what runs now. Raises GpuwrightError where the menu does not have that kernel."""
    entry = reading.menu.of(running.release)
    if entry is None:
        raise GpuwrightError.of(
            f"kernel {running.release}",
            "it runs, and GRUB's menu has no entry for it",
            "a kernel to come back to",
            "Run update-grub on the host, or boot a kernel that /boot/grub/grub.cfg has; then run again.",
        )
    words = words_of(running.cmdline)
    return rewritten(entry, f"gpuwright: {running.release}, as it ran before", FALLBACK, words)


def own_fallback(reading: GrubReading) -> tuple[str, ...]:
    """The entry that a trial, which runs now, would come back to. Raises GpuwrightError where it is gone."""
    lines = list(reading.own)
    heads = [i for i, line in enumerate(lines) if HEAD.match(line)]
    for number, begin in enumerate(heads):
        end = heads[number + 1] if number + 1 < len(heads) else len(lines)
        if f"--id {FALLBACK} " in lines[begin]:
            return tuple(lines[begin:end])
    raise GpuwrightError.of(
        OWN_MENU,
        "a trial boot runs, and the entry to come back to is gone",
        "a kernel to come back to",
        "Reboot the host, or choose a kernel with grub-set-default; then run again.",
    )


def trial(entry: Entry, boot_id: str) -> tuple[str, ...]:
    """An entry that tries `entry`'s kernel, with the words of a trial."""
    words = (*entry.words, *trial_words(boot_id))
    return rewritten(entry, f"gpuwright: {entry.release}, tried once", TRIAL, words)


def _choose(shell: RootShell, entry_id: str) -> None:
    _checked(shell, 'grub-editenv /boot/grub/grubenv set saved_entry="$1"', entry_id)


def _checked(shell: RootShell, text: str, *arguments: str) -> None:
    done = shell.run(text, *arguments)
    if not done.ok:
        raise GpuwrightError.of(
            "GRUB",
            f"its files could not be changed ({done.last})",
            "a /boot that root can write",
            "Repair /boot.",
        )
