"""A CDI spec of this machine's NVIDIA GPUs, for one that has no nvidia-ctk and no network to get it from.

    python bench/device/cdi.py DIRECTORY

It STANDS IN for `nvidia-ctk cdi generate`: gpuwright's hosts have NVIDIA's container toolkit, which knows far more than
this does (MIG, caps, graphics, its hooks). Here are each GPU's node, the nodes that all share, nvidia-smi, and every
library of the loaded driver's version. nvidia-ctk lets a hook make the links that lead to a library; here the library
is mounted once more at each of their names, below LIBRARIES, where the loader of an x86-64 image of Debian's or
Ubuntu's kind looks. Devices are named by index, by UUID, and `all`, as nvidia-ctk names them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

KIND = "nvidia.com/gpu"
FILE = "nvidia.json"
# Version of the specification that the oldest Docker with CDI (25) reads.
VERSION = "0.6.0"
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
SHARED = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")
# Where drivers leave libraries that ldconfig does not know.
PLACES = ("/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib64")
OPTIONS = ["ro", "nosuid", "nodev", "bind"]


@dataclass(frozen=True)
class Card:
    """A GPU by nvidia-smi's index, its UUID, its PCI address (0000:41:00.0), and its node's number."""

    index: int
    uuid: str
    address: str
    minor: int


def cards(xml: str) -> tuple[str, tuple[Card, ...]]:
    """The driver's version and its GPUs in order, from `nvidia-smi -q -x`."""
    root = ElementTree.fromstring(xml)
    found = []
    for index, gpu in enumerate(root.iter("gpu")):
        address = _text(gpu, "pci/pci_bus_id").lower()
        domain, rest = address.split(":", 1)  # 00000000:00:06.0: sysfs has four digits
        card = Card(index, _text(gpu, "uuid"), f"{domain[-4:]}:{rest}", int(_text(gpu, "minor_number")))
        found.append(card)
    return _text(root, "driver_version"), tuple(found)


def ask() -> tuple[str, tuple[Card, ...]]:
    """The same, from this machine. Raises OSError or subprocess.CalledProcessError where nvidia-smi does not answer."""
    done = subprocess.run(["nvidia-smi", "-q", "-x"], capture_output=True, text=True, check=True)
    return cards(done.stdout)


def spec(
    found: tuple[Card, ...], nodes: tuple[str, ...], mounts: tuple[tuple[str, str], ...]
) -> dict[str, object]:
    """The specification as JSON has it: `nodes` and `mounts` (host, container) go to every container."""

    def device(name: str, chosen: tuple[Card, ...]) -> dict[str, object]:
        return {
            "name": name,
            "containerEdits": {"deviceNodes": [{"path": f"/dev/nvidia{card.minor}"} for card in chosen]},
        }

    return {
        "cdiVersion": VERSION,
        "kind": KIND,
        "devices": [
            *(device(str(card.index), (card,)) for card in found),
            *(device(card.uuid, (card,)) for card in found),
            device("all", found),
        ],
        "containerEdits": {
            "env": ["NVIDIA_VISIBLE_DEVICES=void"],
            "deviceNodes": [{"path": node} for node in nodes],
            "mounts": [
                {"hostPath": host, "containerPath": container, "options": OPTIONS}
                for host, container in mounts
            ],
        },
    }


def libraries(version: str, places: tuple[Path, ...]) -> tuple[tuple[str, str], ...]:
    """Each library of this driver version, once for its own name and once for each link that leads to it."""
    found: dict[str, str] = {}
    for place in places:
        for path in sorted(place.glob("*.so*")) if place.is_dir() else ():
            real = path.resolve()
            if real.name.endswith(f".so.{version}") and path.name != real.name.partition(".so")[0] + ".so":
                found.setdefault(path.name, str(real))
    return tuple((host, f"{LIBRARIES}/{name}") for name, host in sorted(found.items()))


def places() -> tuple[Path, ...]:
    """Directories that may hold the driver's libraries: what the loader is told, what ldconfig knows, PLACES."""
    told = [place for place in os.environ.get("LD_LIBRARY_PATH", "").split(":") if place]
    known = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    listed = re.findall(r"=> (\S+)/lib(?:cuda|nvidia-ml)\.so", known)
    return tuple(dict.fromkeys(Path(place) for place in (*told, *listed, *PLACES)))


def write(directory: Path) -> tuple[str, tuple[Card, ...], dict[str, object]]:
    """Write `directory`/nvidia.json; the driver's version, GPUs, and the spec. RuntimeError: parts are missing."""
    version, found = ask()
    mounts = libraries(version, places())
    names = {Path(container).name for _, container in mounts}
    if missing := {"libcuda.so.1", "libnvidia-ml.so.1"} - names:
        raise RuntimeError(
            f"no {' and '.join(sorted(missing))} of {version} in {', '.join(map(str, places()))}"
        )
    program = shutil.which("nvidia-smi")
    if program is None:
        raise RuntimeError("nvidia-smi is not on the PATH")
    mounts += ((str(Path(program).resolve()), "/usr/bin/nvidia-smi"),)
    nodes = tuple(node for node in SHARED if Path(node).exists())
    document = spec(found, nodes, mounts)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / FILE).write_text(json.dumps(document, indent=1) + "\n")
    return version, found, document


def _text(element: ElementTree.Element, path: str) -> str:
    found = element.findtext(path)
    if found is None:
        raise RuntimeError(f"nvidia-smi -q -x says nothing of {path}")
    return found.strip()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
