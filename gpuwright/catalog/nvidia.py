"""NVIDIA's driver branches, package names and rules: nvidia.toml."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NvidiaCatalog:
    """All rows of the file."""

    @classmethod
    def read(cls, data: dict[str, list[dict[str, object]]]) -> NvidiaCatalog:
        """The rows of `data`. Raises pydantic's ValidationError for a row that is wrong."""
        return cls()
