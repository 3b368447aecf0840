"""GRUB's menu as text: its entries, and copies of them with another command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator

from gpuwright.operations.boot_menu import Entry

HEAD = re.compile(r"^\s*(submenu|menuentry)\s+(.*)\{\s*$")
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"|(\S+)")
_LINUX = re.compile(r"^(\s*linux(?:16|efi)?\s+\S*vmlinu[xz]-)(\S+)\s*(.*)$")
_PLAIN = re.compile(r"[A-Za-z0-9_.,:=/+@%~^-]+")


def parse_menu(config: Iterable[str]) -> tuple[Entry, ...]:
    """The entries that start a kernel, without those for repair, in the menu's order.

    Ids of entries in a submenu have the submenu's before them: "advanced>6.12".
    """
    return tuple(_entries(config))


def rewritten(entry: Entry, title: str, entry_id: str, words: tuple[str, ...]) -> tuple[str, ...]:
    """The lines of a copy of `entry` with a title, an id and words of its own."""
    lines = [f"menuentry '{title}' --id {entry_id} {{"]
    for line in entry.text[1:]:
        starts = _LINUX.match(line)
        if starts:
            line = f"{starts[1]}{starts[2]} {' '.join(map(grub_quoted, words))}"
        lines.append(line)
    return tuple(lines)


def grub_quoted(word: str) -> str:
    """A word in GRUB's script language, where `;` would end the command.

    >>> grub_quoted("pci=disable_acs_redir=0000:01:00.0;0000:02:00.0")
    "'pci=disable_acs_redir=0000:01:00.0;0000:02:00.0'"
    """
    return word if _PLAIN.fullmatch(word) else "'" + word.replace("'", "'\\''") + "'"


def _entries(config: Iterable[str]) -> Iterator[Entry]:
    above: list[tuple[str, str]] = []  # (kind, id) of the blocks that are open
    text: list[str] = []
    first = True
    for line in config:
        head = HEAD.match(line)
        if head:
            above.append((head[1], _id(head[2])))
            if head[1] == "menuentry":
                text = [line]
                continue
        elif line.rstrip().endswith("{"):
            above.append(("block", ""))
        elif line.strip() == "}" and above:
            kind, own_id = above.pop()
            if kind == "menuentry":
                path = ">".join([each for of, each in above if of == "submenu"] + [own_id])
                entry = _entry(path, (*text, line), first)
                text, first = [], False
                if entry is not None:
                    yield entry
                continue
        if text:
            text.append(line)


def _entry(path: str, text: tuple[str, ...], first: bool) -> Entry | None:
    starts = next((found for found in map(_LINUX.match, text) if found), None)
    if starts is None or "-recovery-" in path or "(recovery mode)" in text[0]:
        return None
    return Entry(path, starts[2], _words(starts[3]), text, first)


def _id(head: str) -> str:
    """An entry's id, or its title where it has none; GRUB wants `>` doubled there."""
    words = [a or b or c for a, b, c in _QUOTED.findall(head)]
    after = [i for i, word in enumerate(words) if word in ("$menuentry_id_option", "--id")]
    chosen = words[after[0] + 1] if after and after[0] + 1 < len(words) else words[0] if words else ""
    return chosen.replace(">", ">>")


def _words(line: str) -> tuple[str, ...]:
    """GRUB quotes as a shell does; a line that does not end its quotes is taken as it stands."""
    try:
        return tuple(shlex.split(line))
    except ValueError:
        return tuple(line.split())
