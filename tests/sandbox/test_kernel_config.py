"""Debian's own sources and configurations through their real Kconfig: what is asked for is there, or is named.

A builder installs 250 MB and configures twice, two minutes each release.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpuwright.errors import GpuwrightError
from gpuwright.kernel_build import dotconfig, wanted
from gpuwright.kernel_build.builder import LABEL, builder
from gpuwright.kernel_build.configure import configure
from gpuwright.kernel_build.dotconfig import Option
from gpuwright.kernel_build.source import unpack
from tests.sandbox.hosts import REPOSITORY

SOURCES = [
    pytest.param("debian12", "", "6.1", marks=pytest.mark.full),
    pytest.param("debian12", "", "6.12", marks=pytest.mark.full),
    pytest.param("debian13", "", "6.12", marks=pytest.mark.full),
    pytest.param("debian13", "trixie-backports", "", marks=pytest.mark.full),
]


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder for a base image's log where none is named: the image itself is the engine's."""
    if "GPUWRIGHT_STATE_DIR" not in os.environ:
        monkeypatch.setenv("GPUWRIGHT_STATE_DIR", str(tmp_path))


@pytest.mark.parametrize(("base", "suite", "series"), SOURCES)
def test_debians_configuration_with_p2p(base: str, suite: str, series: str) -> None:
    row = wanted.source(base, suite, series)
    order = wanted.wanted(row, None, reduced=False)
    with builder(base, suite, print) as tools:
        source = unpack(tools, order, ("config",), whole=False, progress=print)
        assert source.kernel.startswith(f"{row.series}.")
        made = configure(tools, source, order.options, from_nothing=False)
        final, shipped = dotconfig.parse(made.text), dotconfig.parse(source.shipped)
        assert made.release == f"{source.kernel}-p2p"
        assert final["PCI_P2PDMA"] == final["HSA_AMD_P2P"] == final["DEVICE_PRIVATE"] == "y"
        assert final["HSA_AMD_SVM"] == "y", "what DEVICE_PRIVATE is asked for"
        assert final["DRM_AMDGPU"] == shipped["DRM_AMDGPU"] == "m"
        assert "HSA_AMD_P2P" not in shipped or shipped["HSA_AMD_P2P"] == "n"
        lost = {change.symbol for change in made.changes if change.before in "ym" and change.after == "n"}
        assert not {
            symbol for symbol in lost if symbol.startswith(("DRM_AMD", "VFIO", "NVME", "EXT4", "IOMMU"))
        }

        few = (Option("PCI_P2PDMA", "y"), Option("HSA_AMD_P2P", "y"))
        if "DMABUF_MOVE_NOTIFY" not in final:
            assert configure(tools, source, few, from_nothing=False).text
        else:
            with pytest.raises(GpuwrightError) as caught:
                configure(tools, source, few, from_nothing=False)
            (refusal,) = caught.value.refusals
            assert refusal.subject == "CONFIG_HSA_AMD_P2P"
            assert refusal.observed.endswith("depends on DMABUF_MOVE_NOTIFY (which is n)")

        with pytest.raises(GpuwrightError) as caught:
            configure(tools, source, (Option("PCI_P2PDNA", "y"),), from_nothing=False)
        assert "no Kconfig of this source has PCI_P2PDNA" in str(caught.value)

        reduced = wanted.wanted(row, None, reduced=True)
        small = configure(tools, source, reduced.options, from_nothing=True)
        assert dotconfig.parse(small.text)["PCI_P2PDMA"] == "y"
        assert "CONFIG_DRM_AMDGPU" not in small.text


@pytest.mark.full
def test_the_command_stops_before_it_compiles(tmp_path: Path) -> None:
    extra = tmp_path / "wrong.config"
    extra.write_text("# CONFIG_ZONE_DEVICE is not set\n")
    before = _builders()
    done = _kernel("build", "--fragment", str(extra), "--output", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "CONFIG_PCI_P2PDMA: absent" in done.stderr
    assert "depends on ZONE_DEVICE (which is n)" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
    assert _builders() <= before


@pytest.mark.full
def test_the_command_prints_the_difference() -> None:
    before = _builders()
    done = _kernel("config", "--json")
    assert done.returncode == 0, done.stderr
    changes = json.loads(done.stdout)["changes"]
    assert changes["PCI_P2PDMA"] == changes["HSA_AMD_P2P"] == ["n", "y"]
    assert _builders() <= before


@pytest.mark.full
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_builder_never_outlives_its_command(ending: signal.Signals, tmp_path: Path) -> None:
    before = _builders()
    words = [*_words("build"), "--output", str(tmp_path / "out")]
    with subprocess.Popen(words, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = ""
        while "reading the archive" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        (mine,) = _builders() - before
        process.send_signal(ending)
        said += process.stderr.read()
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}.get(ending, -ending)
    assert ("Interrupted: the builder is removed" in said) is (ending != signal.SIGKILL)
    assert "Traceback" not in said
    deadline = time.monotonic() + 300
    while (
        mine in _builders() and time.monotonic() < deadline
    ):  # after SIGKILL the engine does it, a moment later
        time.sleep(0.2)
    assert mine not in _builders()
    assert not (tmp_path / "out").exists()


def _kernel(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = [*_words(command), *arguments]
    return subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def _words(command: str) -> list[str]:
    program = str(Path(sys.executable).parent / "gpuwright")
    return [program, "kernel", command, "--base", "debian13", "--enable", "p2p"]


def _builders() -> set[str]:
    listed = ["docker", "ps", "--all", "--quiet", "--filter", f"label={LABEL}"]
    return set(subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split())
