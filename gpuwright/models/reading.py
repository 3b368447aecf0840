"""What a host's model store holds now: one fact, one round trip for all models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pyinfra.api import FactBase, QuoteString, StringCommand

from gpuwright.models.manifest import NAME, FoundFile

# find(1): others than root may write to it, or the engine's account cannot read it.
OPEN_OR_SHUT = "\\( ! -user 0 -o -perm /022 -o ! -perm -004 -o -type d ! -perm -001 \\)"

# Prefixes: D directory, M line of its manifest, F bytes, time and path of a file, W path with wrong permissions,
# P name of an unfinished transfer.
_SCRIPT = f"""
for directory in "$@"; do
  if [ ! -d "$directory" ]; then continue; fi
  printf 'D %s\\n' "$directory"
  if [ -f "$directory/{NAME}" ]; then sed 's/^/M /' "$directory/{NAME}"; fi
  find -H "$directory" -type f -exec stat -c 'F %s %Y %n' {{}} +
  find -H "$directory" \\( -type f -o -type d \\) {OPEN_OR_SHUT} -exec printf 'W %s\\n' {{}} +
done
for partial in "$store/.partial"/*; do
  if [ -f "$partial" ]; then printf 'P %s\\n' "${{partial##*/}}"; fi
done
""".strip()


@dataclass(frozen=True)
class StoreReading:
    """Manifest texts by directory, files by absolute path, and names of unfinished transfers.

    `exposed` are files and directories that others may write to, or that the engine cannot read.
    """

    manifests: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, FoundFile] = field(default_factory=dict)
    exposed: tuple[str, ...] = ()
    partials: tuple[str, ...] = ()


class ModelStore(FactBase[StoreReading]):
    """The manifests and files below `directories`, and what `store` has of unfinished transfers.

    A host that was never touched gives an empty reading.
    """

    def command(self, directories: tuple[str, ...], store: str) -> StringCommand:
        quoted = [QuoteString(directory) for directory in directories]
        assignment = StringCommand("store=", QuoteString(store), _separator="")
        return StringCommand("set", "--", *quoted, ";", assignment, ";", _SCRIPT)

    @staticmethod
    def default() -> StoreReading:
        return StoreReading()

    def process(self, output: list[str]) -> StoreReading:
        return parse(output)


def parse(lines: list[str]) -> StoreReading:
    """The reading in the fact's output; lines of another shape are not ours and are passed over."""
    manifests: dict[str, str] = {}
    files: dict[str, FoundFile] = {}
    exposed: list[str] = []
    partials: list[str] = []
    directory = ""
    for line in lines:
        kind, _, rest = line.partition(" ")
        if kind == "D":
            directory = rest
        elif kind == "M" and directory:
            manifests[directory] = manifests.get(directory, "") + rest + "\n"
        elif kind == "F":
            size, mtime, path = (*rest.split(" ", 2), "", "")[:3]
            if size.isdigit() and path:
                # A time before 1970 has a sign, and is nobody's mark.
                files[path] = FoundFile(int(size), int(mtime) if mtime.isdigit() else -1)
        elif kind == "W":
            exposed.append(rest)
        elif kind == "P":
            partials.append(rest)
    return StoreReading(manifests, files, tuple(exposed), tuple(partials))
