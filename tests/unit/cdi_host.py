"""What tests of CDI specifications share: composed ones, and hosts of which they are true."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from gpuwright.operations.cdi_host import CdiHost, read
from gpuwright.operations.cdi_spec import parse
from gpuwright.plan.stack_model import CdiSpec
from tests.unit.test_verify_driver import machine, planned

FIXTURES = Path(__file__).parents[1] / "fixtures" / "cdi"
NVIDIA_TEXT = (FIXTURES / "nvidia-2x4090.yaml").read_text()
AMD_TEXT = (FIXTURES / "amd-2xw7900.json").read_text()
VERSION = "580.95.05"
UUIDS = ("GPU-5d3a1f0c-7f1e-4d36-9d0b-2f6c1a7e9b10", "GPU-c04b8a52-1b7d-4a8e-8c55-90d2f3b6e7a1")
COPY = "/etc/cdi/nvidia.yaml"
MADE, BEFORE, AFTER = 2_000_000_000, 1_000_000_000, 3_000_000_000
# Decimal, as specifications have them.
AMD_NODES = {
    "/dev/kfd": (234, 0),
    "/dev/dri/card1": (226, 1),
    "/dev/dri/renderD128": (226, 128),
    "/dev/dri/card2": (226, 2),
    "/dev/dri/renderD129": (226, 129),
}

(NVIDIA,) = planned(machine("debian13-2x4090")).gpu_runtime.specs
(AMD,) = planned(machine("ubuntu2404-2xw7900-p2p"), gpu_runtime_method="cdi").gpu_runtime.specs


@dataclass(frozen=True)
class Reading:
    """Rows as the script on a host prints them, without the files; `gone` are paths that the host has not."""

    rows: tuple[str, ...]
    gone: frozenset[str] = frozenset()

    def replaced(self, old: str, new: str) -> Reading:
        assert any(old in row for row in self.rows), old
        return Reading(tuple(row.replace(old, new) for row in self.rows), self.gone)

    def without(self, part: str) -> Reading:
        return Reading(tuple(row for row in self.rows if part not in row), self.gone)

    def lacking(self, *paths: str) -> Reading:
        return Reading(self.rows, frozenset(paths))

    def lines(self, **files: str) -> list[str]:
        """With the texts of files by their place: `spec` is the plan's own, `copy` the first of the copies."""
        rows = list(self.rows)
        for path, text in self._paths(files).items():
            rows.append(f"spec\t{path}\t{MADE}\t{len(text.encode())}")
            rows += [f"text\t{path}\t={line}" for line in text.splitlines()]
            rows += [f"there\t{each}" for each in named(text) if each not in self.gone]
        return [*rows, "end"]

    def host(self, **files: str) -> CdiHost:
        return read(self.lines(**files))

    def _paths(self, files: dict[str, str]) -> dict[str, str]:
        wanted = NVIDIA if any("NVRM" in row or "/dev/nvidia" in row for row in self.rows) else AMD
        places = {"spec": wanted.path, "copy": wanted.copies[0], "near": f"{_folder(wanted)}/near.yaml"}
        return {places[name]: text for name, text in files.items()}


def _folder(spec: CdiSpec) -> str:
    return spec.path.rpartition("/")[0]


def named(text: str) -> tuple[str, ...]:
    """The paths that a specification names; none of one that cannot be read."""
    try:
        return parse(text).paths
    except ValueError:
        return ()


def nvidia() -> Reading:
    """Two RTX 4090 with the driver at work, and the refresh unit as it should be."""
    addresses = ("0000:01:00.0", "0000:02:00.0")
    release = "Release Build  (dvs-builder@U22-I3-AE18-09-6)  Tue Sep 23 09:37:28 UTC 2025"
    return Reading(
        (
            f"loaded\tNVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {VERSION}  {release}",
            *(
                f"gpu\t{a}\t{u}\t/dev/nvidia{n}"
                for n, (a, u) in enumerate(zip(addresses, UUIDS, strict=True))
            ),
            f"disk\t{VERSION}",
            f"program\t/usr/bin/nvidia-ctk\t{BEFORE}",
            f"program\t/lib/modules/6.12/updates/dkms/nvidia.ko.xz\t{BEFORE}",
            "service\tloaded",
            "service\tenabled",
            "service\tno",
            "node\t/dev/nvidia0\tc3\t0\t0",
            "node\t/dev/nvidia1\tc3\t1\t0",
            "node\t/dev/nvidiactl\tc3\tff\t0",
            "node\t/dev/nvidia-uvm\t1ed\t0\t0",
        )
    )


def amd() -> Reading:
    """Two W7900 with amdgpu at work."""
    return Reading(
        (
            "loaded\t",
            "gpu\t0000:03:00.0\t\t/dev/dri/renderD128",
            "gpu\t0000:43:00.0\t\t/dev/dri/renderD129",
            "disk\t",
            f"program\t/usr/local/bin/amd-ctk\t{BEFORE}",
            *(f"node\t{path}\t{a:x}\t{b:x}\t993" for path, (a, b) in AMD_NODES.items()),
        )
    )


def fake_programs(folder: Path, **texts: str) -> str:
    """Programs by name, as scripts in `folder`; gives a PATH on which they are first."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        path = folder / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    return f"{folder}:{Path(shutil.which('sh') or '/bin/sh').parent}:/usr/bin:/bin"
