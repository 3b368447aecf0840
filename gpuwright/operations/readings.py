"""Two shapes of readings that most facts have: lines as they are, and tab-separated pairs."""

from __future__ import annotations

from pyinfra.api import FactBase
from typing_extensions import override

from gpuwright.operations.shell import fields


class Lines(FactBase[list[str]]):
    """The output's lines; none where there is no output."""

    @override
    @staticmethod
    def default() -> list[str]:
        return []

    @override
    def process(self, output: list[str]) -> list[str]:
        return output


class Pairs(FactBase[dict[str, str]]):
    """A key and a value on each line; none where there is no output."""

    @override
    @staticmethod
    def default() -> dict[str, str]:
        return {}

    @override
    def process(self, output: list[str]) -> dict[str, str]:
        return {key: value for key, value in fields(output, 2)}
