"""The lock of a host: exact versions of what changes only together, beside the inventory, reviewed in git.

`inventories/locks/<host>.json`; written when the versions were resolved on the host, and brought about again on any
host that lacks them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gpuwright.errors import GpuwrightError

# Host data that says where locks are; without it they lie beside the inventory.
DATUM = "gpuwright_locks"
SCHEMA = 1


@dataclass(frozen=True)
class LockedVersions:
    """A set's exact versions by package, and the declared names that they were resolved `for`."""

    names: tuple[str, ...]
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Lock:
    """All sets of one host."""

    sets: Mapping[str, LockedVersions] = field(default_factory=dict)

    def versions(self, name: str, names: tuple[str, ...]) -> Mapping[str, str]:
        """Of a set, where it was resolved for these very names; else nothing: the declaration has changed."""
        found = self.sets.get(name)
        return found.versions if found and found.names == names else {}

    def to_json(self) -> str:
        """Sorted, one package a line, so that a diff reads well."""
        sets = {
            name: {"for": list(each.names), "versions": dict(sorted(each.versions.items()))}
            for name, each in sorted(self.sets.items())
        }
        return json.dumps({"schema": SCHEMA, "sets": sets}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> Lock:
        """Raises GpuwrightError for text that is no lock."""
        try:
            data = json.loads(text)
            if data["schema"] != SCHEMA:
                raise ValueError(f"schema {data['schema']}")
            return cls(
                {
                    str(name): LockedVersions(
                        tuple(str(n) for n in each["for"]),
                        {str(k): str(v) for k, v in each["versions"].items()},
                    )
                    for name, each in data["sets"].items()
                }
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise GpuwrightError.of(
                f"lock {where}",
                f"{type(error).__name__}: {error}",
                "the file that a deploy wrote",
                "Restore it from version control, or remove it: the next run resolves the versions anew.",
            ) from error


def beside(inventory: Path) -> str:
    """Where the hosts of an inventory file have their locks."""
    return str(inventory.expanduser().absolute().parent / "locks")


def path_of(data: Mapping[str, object], host: str) -> Path | None:
    """The host's lock file; None where no inventory says where locks are."""
    folder = data.get(DATUM)
    return Path(str(folder)) / f"{host.replace('/', '_')}.json" if folder else None


def read(path: Path | None) -> Lock:
    """The lock in a file, an empty one where there is none. Raises GpuwrightError for one that is damaged."""
    if path is None or not path.exists():
        return Lock()
    try:
        return Lock.from_json(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise GpuwrightError.of(
            f"lock {path}", str(error.strerror), "a file that can be read", "Correct its permissions."
        ) from error


def write(path: Path, lock: Lock) -> None:
    """Replace the file in one step. Raises GpuwrightError where that is not possible."""
    beside = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(lock.to_json(), encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise GpuwrightError.of(
            f"lock {path}", str(error.strerror), "a folder that can be written", "Correct its permissions."
        ) from error
