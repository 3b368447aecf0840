"""Facts that can be shown to others: the same host, without what identifies it or opens it."""

from __future__ import annotations

import re
from dataclasses import replace

from gpuwright.facts.model import HostFacts, Nic

REDACTED = "redacted"

# systemd.net-naming-scheme(7): a name made of the interface's MAC
_MAC_NAME = re.compile(r"(?<![A-Za-z0-9])((?:en|wl|ww|ib)x)[0-9a-f]{12}(?![0-9a-f])")
# Ethernet; PXE's BOOTIF= puts the hardware type before it. InfiniBand's has 20 bytes.
_MAC = re.compile(r"(?<![0-9A-Fa-f])(?:[0-9A-Fa-f]{2}[:-]){5,19}[0-9A-Fa-f]{2}(?![0-9A-Fa-f:-])")
_SECRET = re.compile(r"(?i)([\w.-]*(?:key|token|secret|passw|passphrase|credential)[\w.-]*=)\S+")
_LOGIN = re.compile(r"(://)[^/@\s]+@")
# A key, a hash or a GPU's UUID; no version, address or file system's UUID has 32 digits in a row.
_DIGITS = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{32,}(?![0-9A-Za-z])")


def redacted(facts: HostFacts) -> HostFacts:
    """`facts` with serial numbers, MACs and what looks like a key replaced by "redacted".

    The same facts always give the same result, and redacting that again changes nothing. Interfaces that are named
    after their MAC keep names of their own, since a plan may name them.
    """
    names = {nic.name: _interface(nic.name, place) for place, nic in enumerate(facts.nics)}
    readings = facts.readings
    found = facts.found
    return replace(
        facts,
        nics=tuple(_nic(nic, names) for nic in facts.nics),
        found=replace(
            found,
            leftovers=tuple(replace(each, detail=redacted_text(each.detail)) for each in found.leftovers),
        ),
        readings=replace(
            readings,
            cmdline=redacted_text(readings.cmdline),
            apt_sources=tuple(map(redacted_text, readings.apt_sources)),
            pins=tuple(map(redacted_text, readings.pins)),
            engines=tuple(map(redacted_text, readings.engines)),
            serials=tuple((_what(what, names), REDACTED) for what, _ in readings.serials),
        ),
    )


def redacted_text(text: str) -> str:
    """`text` with MACs, logins in URIs, values of names such as `token=`, and long hexadecimal numbers replaced."""
    for pattern, instead in (
        (_LOGIN, r"\1"),
        (_SECRET, rf"\1{REDACTED}"),
        (_MAC_NAME, rf"\1{REDACTED}"),
        (_MAC, REDACTED),
        (_DIGITS, REDACTED),
    ):
        text = pattern.sub(instead, text)
    return text


def _interface(name: str, place: int) -> str:
    return _MAC_NAME.sub(rf"\g<1>{REDACTED}{place}", name)


def _nic(nic: Nic, names: dict[str, str]) -> Nic:
    return replace(nic, name=names[nic.name])


def _what(what: str, names: dict[str, str]) -> str:
    """`mac-NAME` under the name's new name."""
    kind, dash, name = what.partition("-")
    return f"{kind}{dash}{names.get(name, redacted_text(name))}"
