"""AMD's drivers, ROCm generations and firmware: amd.toml."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AmdCatalog:
    """All rows of the file."""

    @classmethod
    def read(cls, data: dict[str, list[dict[str, object]]]) -> AmdCatalog:
        """The rows of `data`. Raises pydantic's ValidationError for a row that is wrong."""
        return cls()
