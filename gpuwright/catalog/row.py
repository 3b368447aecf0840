"""What every catalogue row has: a source."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Row(BaseModel):
    """A row of a catalogue file; unknown keys are errors, so that a typo in the data is found by its test.

    `memory`: the row, or a value in it that `source` names, rests on memory and wants checking.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    memory: bool = False
