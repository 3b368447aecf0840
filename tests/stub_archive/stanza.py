"""Stanzas in deb822 form, as apt's indexes have them, with what is known of their origin in fields of our own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

RELATIONS = ("Pre-Depends", "Depends", "Recommends", "Conflicts", "Breaks", "Replaces", "Provides")
# From best to worst: an index's or apt's own words; names and versions that are quoted somewhere, with relations from
# memory.
RECORDS = ("recorded", "composed")


@dataclass(frozen=True)
class Stanza:
    """A package in one version. Fields that begin with Stub- are ours and reach no archive."""

    fields: dict[str, str]

    @property
    def name(self) -> str:
        return self.fields["Package"]

    @property
    def version(self) -> str:
        return self.fields["Version"]

    @property
    def record(self) -> str:
        return self.fields["Stub-Record"]

    @property
    def suite(self) -> str:
        """`bookworm-security/non-free`; "" where the archive has but one."""
        return self.fields.get("Stub-Suite", "")

    @property
    def later(self) -> bool:
        """Whether the archive gets it only after the host was provisioned."""
        return self.fields.get("Stub-Later") == "yes"

    @property
    def preferences(self) -> str:
        """What the package puts below /etc/apt/preferences.d."""
        return self.fields.get("Stub-Preferences", "")

    def control(self) -> str:
        """The stanza as dpkg wants it."""
        own = {key: value for key, value in self.fields.items() if not key.startswith("Stub-")}
        own |= {"Maintainer": "stub <stub@example.invalid>", "Description": "stub: an empty package"}
        return "".join(f"{key}: {value}\n" for key, value in own.items())


def parse(text: str) -> list[Stanza]:
    """The stanzas of a deb822 text, in order."""
    blocks = re.split(r"\n[ \t]*\n", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return [Stanza(_fields(block)) for block in blocks if block.strip()]


def read(text: str) -> list[Stanza]:
    """The same of a file of ours: `Stub-Versions: A B | C` makes one stanza of each, C a later one.

    In the other fields `{version}` stands for it, `{upstream}` for what is before the last hyphen, and `{branch}` for
    its first number.
    """
    found = []
    for stanza in parse(text):
        if "Stub-Versions" not in stanza.fields:
            found.append(stanza)
            continue
        now, _, later = stanza.fields["Stub-Versions"].partition("|")
        for version in (*now.split(), *later.split()):
            names = {
                "version": version,
                "upstream": version.rpartition("-")[0],
                "branch": re.split(r"[.-]", version)[0],
            }
            fields = {k: v.format(**names) for k, v in stanza.fields.items() if k != "Stub-Versions"}
            fields.setdefault("Version", version)
            if version in later.split():
                fields["Stub-Later"] = "yes"
            found.append(Stanza(fields))
    return found


def render(stanzas: Iterable[Stanza]) -> str:
    """A deb822 text of them."""
    return "\n".join("".join(f"{k}: {v}\n" for k, v in stanza.fields.items()) for stanza in stanzas)


def _fields(block: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in block.strip("\n").splitlines():
        if line[:1].isspace():
            fields[name] += " " + line.strip()
        else:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
    return {key: re.sub(r"\s+", " ", value).strip().rstrip(",") for key, value in fields.items()}
