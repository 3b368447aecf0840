"""What the header of a GGUF file says: metadata, tensors, and whether the file is whole; asked before a byte travels.

The `gguf` package imports numpy, copies every vocabulary into arrays and says "cannot reshape" of a cut file;
what is needed here are some scalars, the tensors' shapes, and where the last one ends.
Source: ggml docs/gguf.md (versions 2 and 3); block sizes: gguf-py constants.py, GGML_QUANT_SIZES.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gpuwright.errors import GpuwrightError

_MAGIC = b"GGUF"
_LFS_POINTER = b"version https://git-lfs"
_VERSIONS = (2, 3)
_ALIGNMENT = "general.alignment"
_DEFAULT_ALIGNMENT = 32
# struct's letter of a metadata value by its type; strings (8) and arrays (9) carry their length.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_FEW = 1024  # arrays of more elements are vocabularies
# Tensor type: (elements, bytes) of a block. A type that is newer than this table counts as no bytes.
_BLOCKS = {
    **{0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40)},
    **{10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292)},
    **{16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110)},
    **{22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8)},
    **{29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18)},
}


Value = int | float | bool | str | tuple[int | float | bool, ...]


@dataclass(frozen=True)
class Tensor:
    """`columns` run along what is quantised; `elements` and `bytes` are of the whole tensor."""

    name: str
    columns: int
    elements: int
    bytes: int


@dataclass(frozen=True)
class Header:
    """Scalars, strings and short arrays of the metadata by key; `end` is the byte after the last tensor."""

    metadata: Mapping[str, Value]
    tensors: tuple[Tensor, ...]
    end: int


class _CutError(Exception):
    """The file ends inside its header."""


def check(path: Path) -> Header:
    """The header of a whole file. Raises GpuwrightError where it is no GGUF file, or ends before its last tensor."""
    size, header = path.stat().st_size, read(path)
    if size < header.end:
        raise _refused(path, f"it has {size} bytes and its tensors end at byte {header.end}: it was cut off")
    return header


def read(path: Path) -> Header:
    """The header. Raises GpuwrightError where `path` is no GGUF file, or ends inside it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        begin = file.read(len(_LFS_POINTER))
        if not begin.startswith(_MAGIC):
            pointer = "it is a Git LFS pointer, not the file itself"
            other = f"it begins with {begin[:4]!r}, not with {_MAGIC.decode()}"
            raise _refused(path, pointer if begin == _LFS_POINTER else other)
        file.seek(len(_MAGIC))
        try:
            return _header(_Reader(file, size))
        except _CutError:
            raise _refused(path, f"it ends after {size} bytes, inside its header") from None
        except ValueError as error:
            raise _refused(path, str(error)) from None


class _Reader:
    """Reads little-endian values; raises _CutError at the end of the file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size

    def number(self, form: str) -> int:
        """One integer, `I` (4 bytes) or `Q` (8 bytes)."""
        return int(self.values(form, 1)[0])

    def values(self, form: str, count: int) -> tuple[int | float | bool, ...]:
        """`count` values of struct's letter `form`."""
        length = struct.calcsize(f"<{count}{form}")
        content = self._file.read(length)
        if len(content) < length:
            raise _CutError
        return struct.unpack(f"<{count}{form}", content)

    def skip(self, length: int) -> None:
        """Pass over `length` bytes."""
        if self._file.seek(length, 1) > self._size:
            raise _CutError

    def text(self) -> bytes:
        """A string: its length, its bytes."""
        length = self.number("Q")
        if length > self._size:
            raise _CutError
        content = self._file.read(length)
        if len(content) < length:
            raise _CutError
        return content

    def position(self) -> int:
        """Bytes from the beginning of the file."""
        return self._file.tell()


def _header(reader: _Reader) -> Header:
    """All of it, after the magic. Raises ValueError for a header of another shape."""
    version = reader.number("I")
    if version not in _VERSIONS:
        raise ValueError(f"its GGUF version is {version}, and {' and '.join(map(str, _VERSIONS))} are known")
    count, pairs = reader.number("Q"), reader.number("Q")
    metadata: dict[str, Value] = {}
    for _ in range(pairs):
        key, value = reader.text().decode(errors="replace"), _value(reader, reader.number("I"))
        if value is not None:
            metadata[key] = value
    tensors: list[Tensor] = []
    end = 0
    for _ in range(count):
        name = reader.text().decode(errors="replace")
        dimensions = [reader.number("Q") for _ in range(reader.number("I"))]
        elements = 1
        for dimension in dimensions:
            elements *= dimension
        block, length = _BLOCKS.get(reader.number("I"), (1, 0))
        stored = elements // block * length
        tensors.append(Tensor(name, dimensions[0] if dimensions else 1, elements, stored))
        end = max(end, reader.number("Q") + stored)
    declared = metadata.get(_ALIGNMENT)
    alignment = max(1, declared) if type(declared) is int else _DEFAULT_ALIGNMENT
    data = -(-reader.position() // alignment) * alignment
    return Header(metadata, tuple(tensors), data + end if count else reader.position())


def _value(reader: _Reader, kind: int) -> Value | None:
    """None for what is passed over: long arrays, and those of strings and arrays."""
    if kind in _SCALARS:
        return reader.values(_SCALARS[kind], 1)[0]
    if kind == _STRING:
        return reader.text().decode(errors="replace")
    if kind != _ARRAY:
        raise ValueError(f"its metadata has a value of unknown type {kind}")
    of, count = reader.number("I"), reader.number("Q")
    if of in _SCALARS and count <= _FEW:
        return reader.values(_SCALARS[of], count)
    if of in _SCALARS:
        reader.skip(struct.calcsize(f"<{_SCALARS[of]}") * count)
        return None
    if of != _STRING:
        raise ValueError(
            f"its metadata has an array of type {of}, and models have those of scalars and strings"
        )
    for _ in range(count):
        reader.skip(reader.number("Q"))
    return None


def _refused(path: Path, observed: str) -> GpuwrightError:
    return GpuwrightError.of(
        f"model file {path}", observed, "a whole GGUF file", "Fetch it again; nothing was sent to the host."
    )
