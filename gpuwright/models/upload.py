"""A file of the control machine travels to the host in chunks: a kill at any moment loses one chunk."""

from __future__ import annotations

import time
from pathlib import Path

from gpuwright.errors import GpuwrightError
from gpuwright.models.remote import Remote
from gpuwright.models.sources import ModelFile

_CHUNK_BYTES = 16 * 1024 * 1024
_SAY_EVERY_S = 3.0

# Appends only what arrived whole to what is as long as expected: a kill leaves a valid prefix.
_APPEND = """
partial="$store/.partial/$key"
chunk="$partial.chunk"
: >>"$partial"
found=$(stat -c %s "$partial")
if [ "$found" -ne "$offset" ]; then echo "the partial file has $found bytes instead of $offset"; exit 1; fi
found=$(stat -c %s "$chunk")
if [ "$found" -ne "$length" ]; then echo "the chunk has $found bytes instead of $length"; exit 1; fi
cat "$chunk" >>"$partial" || exit 1
rm -f "$chunk"
"""


def upload(remote: Remote, label: str, file: ModelFile, offset: int) -> None:
    """Send `file` from byte `offset` on, which is the size of the host's partial file.

    Raises GpuwrightError where the connection fails or another run moved the partial file.
    """
    path, total = Path(file.where), file.size or 0
    if offset:
        remote.say(f"{label}: {offset / 1e6:.0f} of {total / 1e6:.0f} MB are there already")
    began = said = time.monotonic()
    first = offset
    with path.open("rb") as content:
        content.seek(offset)
        while chunk := content.read(_CHUNK_BYTES):
            remote.put(chunk, f"{remote.store}/.partial/{file.key}.chunk")
            answer = remote.run(_APPEND, {"key": file.key, "offset": offset, "length": len(chunk)})
            if not answer.ok:
                raise GpuwrightError.of(
                    label,
                    f"byte {offset} and after could not be added: {answer.reason}",
                    "one run at a time, and room on the disk",
                    "Run again: the transfer resumes where it stopped",
                )
            offset += len(chunk)
            if time.monotonic() - said >= _SAY_EVERY_S:
                said = time.monotonic()
                remote.say(progress(label, offset, total, (offset - first) / (said - began)))


def progress(label: str, done: int, total: int, rate: float) -> str:
    """One line of progress; sizes in bytes, `rate` in bytes per second, shown in MB of 10^6 bytes."""
    share = 100 * done // total if total else 100
    return f"{label}: {done / 1e6:.0f} of {total / 1e6:.0f} MB ({share} %, {rate / 1e6:.0f} MB/s)"
