"""What a host's model store holds now: one fact, one round trip for all models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pyinfra.api import FactBase, QuoteString, StringCommand

from gpuwright.models.manifest import NAME

# Prefixes: D directory, M line of its manifest, F bytes and path of a file, P name of an unfinished transfer.
_SCRIPT = f"""
for directory in "$@"; do
  if [ ! -d "$directory" ]; then continue; fi
  printf 'D %s\\n' "$directory"
  if [ -f "$directory/{NAME}" ]; then sed 's/^/M /' "$directory/{NAME}"; fi
  find -H "$directory" -type f -exec stat -c 'F %s %n' {{}} +
done
for partial in "$store/.partial"/*; do
  if [ -f "$partial" ]; then printf 'P %s\\n' "${{partial##*/}}"; fi
done
""".strip()


@dataclass(frozen=True)
class StoreReading:
    """Manifest texts by directory, sizes in bytes by absolute path, and names of unfinished transfers."""

    manifests: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    partials: tuple[str, ...] = ()


class ModelStore(FactBase[StoreReading]):
    """The manifests and file sizes below `directories`, and what `store` has of unfinished transfers.

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
    sizes: dict[str, int] = {}
    partials: list[str] = []
    directory = ""
    for line in lines:
        kind, _, rest = line.partition(" ")
        if kind == "D":
            directory = rest
        elif kind == "M" and directory:
            manifests[directory] = manifests.get(directory, "") + rest + "\n"
        elif kind == "F":
            size, _, path = rest.partition(" ")
            if size.isdigit():
                sizes[path] = int(size)
        elif kind == "P":
            partials.append(rest)
    return StoreReading(manifests, sizes, tuple(partials))
