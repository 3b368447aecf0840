"""What a boot loader can boot, and what is remembered of a trial boot; the same for GRUB and systemd-boot."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from gpuwright.errors import GpuwrightError

TRIAL_FILE = "/etc/gpuwright/boot-trial.json"
# Ids of our own entries: the kernel and words that ran before, and those that are tried once.
FALLBACK, TRIAL = "gpuwright-fallback", "gpuwright-trial"
# On the command line of a trial, with a value of its own, so that one is known from another, also after it stayed.
MARK = "gpuwright.trial="
# A kernel that stops comes back by itself, and so does an initramfs that finds no root file system
# (initramfs-tools(7): panic=).
_COMES_BACK = ("panic=30", "oops=panic")
# What boot loaders add themselves.
_OF_THE_LOADER = ("BOOT_IMAGE=", "initrd=")
_PART = re.compile(r'(?:[^\s"]|"[^"]*")+')


@dataclass(frozen=True)
class Entry:
    """An entry of the boot menu that starts a kernel: `words` is its command line, `text` what the loader reads.

    `first` is the one that boots where nothing is chosen.
    """

    id: str
    release: str
    words: tuple[str, ...]
    text: tuple[str, ...]
    first: bool = False


@dataclass(frozen=True)
class Menu:
    """`default` is the id that boots, "" where nothing is chosen; `once` the id that boots next time only.

    `armed` is the mark of the trial that our own entries are for, "" for none.
    """

    entries: tuple[Entry, ...]
    default: str
    once: str
    armed: str = ""

    def of(self, release: str) -> Entry | None:
        """The entry that always boots `release`, whatever else is installed later."""
        fixed = [entry for entry in self.entries if entry.release == release and not entry.first]
        return fixed[0] if fixed else next((e for e in self.entries if e.release == release), None)

    def following(self, release: str) -> Entry | None:
        """The first entry where it boots `release` now: newer kernels of the distribution take its place."""
        return next((e for e in self.entries if e.release == release and e.first), self.of(release))


@dataclass(frozen=True)
class Trial:
    """A trial boot that was prepared: of `release` with `words`, whose files had `stamp`, during boot `boot_id`.

    `failed_units` had failed before it. `verdict` says how it failed, "" while that is open.
    """

    release: str
    words: tuple[str, ...]
    stamp: str
    boot_id: str
    failed_units: tuple[str, ...] = ()
    verdict: str = ""

    def of_same(self, release: str, words: tuple[str, ...], stamp: str) -> bool:
        """Whether another trial of these would be the same again."""
        return (self.release, self.words, self.stamp) == (release, words, stamp)

    def ended(self, verdict: str) -> Trial:
        """The same trial after it failed."""
        return replace(self, verdict=verdict)

    def to_json(self) -> str:
        """One object, for the file on the host."""
        return json.dumps(asdict(self), indent=2) + "\n"


def parse_trial(text: str) -> Trial | None:
    """The trial in a file's text, None for an empty one. Raises GpuwrightError for a file that is not ours."""
    if not text.strip():
        return None
    try:
        found = json.loads(text)
        return Trial(
            str(found["release"]),
            tuple(map(str, found["words"])),
            str(found["stamp"]),
            str(found["boot_id"]),
            tuple(map(str, found["failed_units"])),
            str(found["verdict"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GpuwrightError.of(
            TRIAL_FILE,
            f"cannot be read ({type(error).__name__}: {error})",
            "what gpuwright wrote there",
            "Remove it: the next run then tries the planned kernel again.",
        ) from error


def trial_words(boot_id: str) -> tuple[str, ...]:
    """What a trial has on its command line beside its entry's words; `boot_id` is of the boot that prepares it.

    >>> trial_words("4b3c51a2-77aa")
    ('panic=30', 'oops=panic', 'gpuwright.trial=4b3c51a2')
    """
    return (*_COMES_BACK, f"{MARK}{boot_id[:8]}")


def words_of(cmdline: str) -> tuple[str, ...]:
    """The words of a kernel command line, without what the loader adds and what makes a trial.

    >>> words_of('BOOT_IMAGE=/vmlinuz root=UUID=1 ro dyndbg="file a.c +p" panic=30 oops=panic gpuwright.trial=4b3c51a2')
    ('root=UUID=1', 'ro', 'dyndbg=file a.c +p')
    """
    found = [part.replace('"', "") for part in _PART.findall(cmdline)]
    own = _COMES_BACK if mark_of(found) else ()
    return tuple(word for word in found if word not in own and not word.startswith((*_OF_THE_LOADER, MARK)))


def mark_of(words: Iterable[str]) -> str:
    """Which trial a command line belongs to, or belonged to before it stayed; "" for none.

    >>> mark_of(["ro", "gpuwright.trial=4b3c51a2"])
    '4b3c51a2'
    """
    return next((word.removeprefix(MARK) for word in words if word.startswith(MARK)), "")


def is_open(cmdline: str, menu: Menu) -> bool:
    """Whether this boot is a trial that was neither kept nor left yet."""
    return menu.armed != "" and mark_of(cmdline.split()) == menu.armed


def lacking(wanted: Iterable[str], words: Iterable[str]) -> tuple[str, ...]:
    """The wanted words that are not there."""
    there = set(words)
    return tuple(word for word in wanted if word not in there)


def release_of(image: str, depends: dict[str, str]) -> str:
    """The kernel release that the package `image` brings, from what installed packages depend on; "" if none.

    >>> release_of("linux-image-amd64", {"linux-image-amd64": "linux-image-6.12.57+deb13-amd64 (= 6.12.57-1)"})
    '6.12.57+deb13-amd64'
    """
    seen: set[str] = set()
    queue = [image]
    while queue:
        name = queue.pop(0)
        if name in seen or name not in depends:
            continue
        seen.add(name)
        kernel = re.fullmatch(r"linux-image-(?:unsigned-)?([0-9].*)", name)
        if kernel and not re.fullmatch(r"[0-9.]+", kernel[1]):  # linux-image-6.8 alone is a metapackage
            return kernel[1]
        queue += [
            part.split()[0].partition(":")[0] for part in re.split(r"[,|]", depends[name]) if part.strip()
        ]
    return ""
