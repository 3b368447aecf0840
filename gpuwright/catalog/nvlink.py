"""Rows of NVLink: the boards and switches that need fabric manager, its packages, and IMEX between machines."""

from __future__ import annotations

from gpuwright.catalog.nvidia_driver import OfBranches, Source
from gpuwright.catalog.row import Row


class SwitchRow(Row):
    """NVSwitches on the bus: any function of NVIDIA's with this class; `devices` are the known ones."""

    class_code: str
    devices: tuple[str, ...]


class BoardRow(Row):
    """A board of `count` GPUs whose NVSwitches no PCI device shows."""

    gpus: tuple[str, ...]
    count: int


class FabricRow(OfBranches):
    """Fabric manager and its library, as a source names them for branches `first` to `last`; `components` as above."""

    source_of: Source
    os: tuple[str, ...]
    packages: tuple[str, ...]
    components: tuple[str, ...] = ()
    units: tuple[str, ...]


class NvLink5Row(Row):
    """What boards of NVLink 5 need beside fabric manager, and the source that alone has it."""

    source_of: Source
    packages: tuple[str, ...]
    modules: tuple[str, ...]


class ImexRow(OfBranches):
    """IMEX, as a source names it for branches `first` to `last`; `components` as above."""

    source_of: Source
    os: tuple[str, ...]
    packages: tuple[str, ...]
    components: tuple[str, ...] = ()

    def fits(self, source: str, os: str, branch: int) -> bool:
        """Whether these are its names there."""
        return self.has(branch) and source == self.source_of and os in self.os


class ImexUse(Row):
    """Cards whose NVLink leads to other machines, and what IMEX is made of there.

    `nodes` is the file that lists all machines of the domain, `option` what makes the module create its channel.
    """

    gpus: tuple[str, ...]
    unit: str
    nodes: str
    option: str
