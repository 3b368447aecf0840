"""A GGUF file that is cut anywhere, or is something else, is refused by its header."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from gpuwright.errors import GpuwrightError
from gpuwright.models import gguf

OK = (Path(__file__).parents[1] / "fixtures" / "ok.gguf").read_bytes()


def header(version: int, *parts: bytes, tensors: int = 0, pairs: int = 0) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs) + b"".join(parts)


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def tensor(kind: int, *dimensions: int, offset: int = 0) -> bytes:
    sizes = b"".join(struct.pack("<Q", size) for size in dimensions)
    return text("t") + struct.pack("<I", len(dimensions)) + sizes + struct.pack("<IQ", kind, offset)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.gguf"


def test_a_whole_file_is_accepted(path: Path) -> None:
    path.write_bytes(OK)
    gguf.check(path)


@pytest.mark.parametrize("length", [0, 3, 4, 7, 8, 23, 24, 100, 1000, 5000, 12000, len(OK) // 2, len(OK) - 1])
def test_a_cut_file_is_refused(path: Path, length: int) -> None:
    path.write_bytes(OK[:length])
    with pytest.raises(GpuwrightError, match=r"begins with|inside its header|it was cut off"):
        gguf.check(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>Sign in</html>", r"begins with b'<htm', not with GGUF"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (header(1), "its GGUF version is 1, and 2 and 3 are known"),
        (header(3, text("a"), struct.pack("<I", 99), pairs=1), "a value of unknown type 99"),
        (header(3, struct.pack("<Q", 2**63), pairs=1), "inside its header"),
        (header(3, pairs=2**60), "inside its header"),
    ],
)
def test_what_is_no_gguf_is_refused(path: Path, content: bytes, words: str) -> None:
    path.write_bytes(content)
    with pytest.raises(GpuwrightError, match=words):
        gguf.check(path)


@pytest.mark.parametrize(
    ("kind", "elements", "length"), [(0, 64, 256), (1, 64, 128), (12, 512, 288), (8, 64, 68), (999, 64, 0)]
)
def test_the_last_tensor_must_be_whole(path: Path, kind: int, elements: int, length: int) -> None:
    """F32, F16, Q4_K, Q8_0, and a type of the future, which is taken at its offset."""
    head = header(3, tensor(kind, elements, offset=32), tensors=1)
    data = head + bytes(-len(head) % 32) + bytes(32 + length)
    path.write_bytes(data)
    gguf.check(path)
    path.write_bytes(data[:-1])
    with pytest.raises(GpuwrightError, match="it was cut off"):
        gguf.check(path)


def test_another_alignment_is_honoured(path: Path) -> None:
    pair = text("general.alignment") + struct.pack("<II", 4, 4096)
    head = header(3, pair, tensor(24, 10), tensors=1, pairs=1)
    path.write_bytes(head + bytes(-len(head) % 4096) + bytes(9))
    with pytest.raises(GpuwrightError, match="its tensors end at byte 4106"):
        gguf.check(path)
