"""Which repositories win where the distribution has packages of the same names."""

from __future__ import annotations

from gpuwright.catalog.row import Row


class PinRow(Row):
    """What apt prefers once a repository whose URI begins with `uri` is there: see apt_preferences(5).

    `packages` are patterns, `pin` says which of their versions are meant, `priority` is theirs. `clash` names
    packages that the distribution has as well, in other versions.
    """

    name: str
    uri: str
    packages: str
    pin: str
    priority: int
    clash: str
