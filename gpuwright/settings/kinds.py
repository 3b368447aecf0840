"""Types that settings share: what a name, a port, a path may look like."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
# Unit and environment files end a value at the end of its line.
Argument = Annotated[str, Field(pattern=r"^[^\n\r\x00]*$")]
Port = Annotated[int, Field(ge=1024, le=65535)]


def _absolute(path: str) -> str:
    """A path that unit files, environment files and `docker run --volume` all take literally."""
    if not re.fullmatch(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+/?", path):
        raise ValueError("must be an absolute path of letters, digits, dots, dashes and underscores")
    return path.rstrip("/")


AbsolutePath = Annotated[str, AfterValidator(_absolute)]


class Strict(BaseModel):
    """Unknown keys are errors; values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
