"""Device nodes that containers get as they are: there, and of the group whose number the containers get."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass

from pyinfra import host
from pyinfra.api import FactBase, operation
from pyinfra.api.command import PyinfraCommand, StringCommand
from typing_extensions import override

from gpuwright.errors import Refusal
from gpuwright.operations.shell import failure, fields, script, would_change
from gpuwright.plan.stack_model import DeviceNodes

# `device_nodes NODE... -- PCI_ADDRESS...` prints a row for each node and each GPU.
SCRIPT = r"""
root=
device_nodes() (
    tab=$(printf '\t')
    node() {
        if [ -c "$root$2" ]; then
            printf '%s\t%s\t%s\n' "$1" "$2" "$(stat -L -c "%G${tab}%a" "$root$2")"
        else
            printf '%s\t%s\tabsent\t\n' "$1" "$2"
        fi
    }
    while [ "$1" != -- ]; do node "$1" "$1"; shift; done
    shift
    for gpu; do
        found=
        for render in "$root/sys/bus/pci/devices/$gpu"/drm/renderD*; do
            if [ -e "$render" ]; then found=/dev/dri/${render##*/}; fi
        done
        if [ -n "$found" ]; then node "$gpu" "$found"; else printf '%s\ta render node\tabsent\t\n' "$gpu"; fi
    done
)
"""


@dataclass(frozen=True)
class FoundNode:
    """A node of a GPU, or a common one (`of` is its own path then); `group` is "absent" where it is not there."""

    of: str
    path: str
    group: str
    mode: str

    def wrong(self, group: str) -> str:
        """What keeps the members of `group` from opening it; "" for nothing."""
        if self.group == "absent":
            return "is not there" if self.of == self.path else f"{self.path} is not there"
        if self.group == group or self.mode[-1:] in ("6", "7"):
            return ""
        return f"{self.path} belongs to the group {self.group}"


class FoundNodes(FactBase[tuple[FoundNode, ...]]):
    """The nodes that a plan wants, in its order."""

    @override
    def command(self, common: tuple[str, ...], gpus: tuple[str, ...]) -> StringCommand:
        return script(f'{SCRIPT}\ndevice_nodes "$@"', *common, "--", *gpus)

    @override
    def process(self, output: list[str]) -> tuple[FoundNode, ...]:
        return read(output)


def read(lines: Iterable[str]) -> tuple[FoundNode, ...]:
    """What SCRIPT printed. Raises ValueError for a row that was cut off."""
    return tuple(FoundNode(*row) for row in fields(lines, 4))


@operation()
def checked(nodes: tuple[DeviceNodes, ...]) -> Generator[PyinfraCommand]:
    """
    Refuse a host whose services would be given nodes that are absent, or that they could not open.

    + nodes: of each vendor; the driver and udev make them, so nothing is made here
    """
    for each in nodes:
        if would_change(("kernel", each.vendor)):
            continue
        found: tuple[FoundNode, ...] = host.get_fact(FoundNodes, common=each.common, gpus=each.gpus)
        wrong = [f"{node.of}: {what}" for node in found if (what := node.wrong(each.group))]
        if wrong:
            yield failure(
                Refusal(
                    f"device nodes of {each.vendor}",
                    "; ".join(wrong),
                    f"{', '.join(each.common)} and a render node for each GPU, of the group {each.group}",
                    "Absent: reboot, then `journalctl -k -b` says why the driver made none. Another group: remove the "
                    "udev rule that gives it (udevadm test), and `udevadm trigger`. Then run again.",
                )
            )
            return
        host.noop(f"{len(found)} device nodes are there, of the group {each.group}")
