"""Is a file a whole GGUF model? Asked before a byte of it travels, of its header alone.

The `gguf` package imports numpy, copies every vocabulary into arrays and says "cannot reshape" of a cut file;
what is needed here is where the last tensor ends.
Source: ggml docs/gguf.md (versions 2 and 3); block sizes: gguf-py constants.py, GGML_QUANT_SIZES.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from gpuwright.errors import GpuwrightError

_MAGIC = b"GGUF"
_LFS_POINTER = b"version https://git-lfs"
_VERSIONS = (2, 3)
_ALIGNMENT = "general.alignment"
_DEFAULT_ALIGNMENT = 32
# Bytes of a metadata value by its type; strings (8) and arrays (9) carry their length.
_SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_STRING, _ARRAY, _UINT32 = 8, 9, 4
# Tensor type: (elements, bytes) of a block. A type that is newer than this table counts as no bytes.
_BLOCKS = {
    **{0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40)},
    **{10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292)},
    **{16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110)},
    **{22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8)},
    **{29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18)},
}


class _CutError(Exception):
    """The file ends inside its header."""


def check(path: Path) -> None:
    """Raise GpuwrightError where `path` is no GGUF file, or ends before its last tensor does."""
    size = path.stat().st_size
    with path.open("rb") as file:
        begin = file.read(len(_LFS_POINTER))
        if not begin.startswith(_MAGIC):
            pointer = "it is a Git LFS pointer, not the file itself"
            other = f"it begins with {begin[:4]!r}, not with {_MAGIC.decode()}"
            raise _refused(path, pointer if begin == _LFS_POINTER else other)
        file.seek(len(_MAGIC))
        try:
            needed = _end(_Header(file, size))
        except _CutError:
            raise _refused(path, f"it ends after {size} bytes, inside its header") from None
        except ValueError as error:
            raise _refused(path, str(error)) from None
    if size < needed:
        raise _refused(path, f"it has {size} bytes and its tensors end at byte {needed}: it was cut off")


class _Header:
    """Reads little-endian values; raises _CutError at the end of the file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size

    def number(self, form: str) -> int:
        """One integer, `I` (4 bytes) or `Q` (8 bytes)."""
        length = struct.calcsize(f"<{form}")
        content = self._file.read(length)
        if len(content) < length:
            raise _CutError
        return int(struct.unpack(f"<{form}", content)[0])

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


def _end(header: _Header) -> int:
    """The byte after the last tensor. Raises ValueError for a header of another shape."""
    version = header.number("I")
    if version not in _VERSIONS:
        raise ValueError(f"its GGUF version is {version}, and {' and '.join(map(str, _VERSIONS))} are known")
    tensors, pairs = header.number("Q"), header.number("Q")
    alignment = _DEFAULT_ALIGNMENT
    for _ in range(pairs):
        key, kind = header.text(), header.number("I")
        if key.decode(errors="replace") == _ALIGNMENT and kind == _UINT32:
            alignment = max(1, header.number("I"))
        else:
            _skip_value(header, kind)
    end = 0
    for _ in range(tensors):
        header.text()
        elements = 1
        for _ in range(header.number("I")):
            elements *= header.number("Q")
        block, length = _BLOCKS.get(header.number("I"), (1, 0))
        end = max(end, header.number("Q") + elements // block * length)
    data = -(-header.position() // alignment) * alignment
    return data + end if tensors else header.position()


def _skip_value(header: _Header, kind: int) -> None:
    if kind in _SCALARS:
        header.skip(_SCALARS[kind])
    elif kind == _STRING:
        header.skip(header.number("Q"))
    elif kind == _ARRAY:
        of, count = header.number("I"), header.number("Q")
        if of in _SCALARS:
            header.skip(_SCALARS[of] * count)
        else:
            for _ in range(count):
                _skip_value(header, of)
    else:
        raise ValueError(f"its metadata has a value of unknown type {kind}")


def _refused(path: Path, observed: str) -> GpuwrightError:
    return GpuwrightError.of(
        f"model file {path}", observed, "a whole GGUF file", "Fetch it again; nothing was sent to the host."
    )
