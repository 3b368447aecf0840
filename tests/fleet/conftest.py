"""The machines of the fleet, for all tests beside this file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpuwright import catalog
from gpuwright.catalog import Catalog
from gpuwright.errors import Refusal
from gpuwright.facts import HostFacts
from gpuwright.plan import HostPlan, plan_host
from gpuwright.settings import HostSettings, read_settings
from tests.fleet.expectation import Expectation

FLEET = sorted(path.parent for path in Path(__file__).parent.glob("*/machine.toml"))


@dataclass(frozen=True)
class FleetMachine:
    """A directory: what it is, what is expected of its plan, its facts and settings."""

    directory: Path
    about: dict[str, object]
    expect: Expectation
    facts: HostFacts
    settings: HostSettings

    @property
    def name(self) -> str:
        return self.directory.name

    def plan(self, rows: Catalog | None = None) -> HostPlan | tuple[Refusal, ...]:
        return plan_host(self.facts, self.settings, rows or catalog.load())


def read(directory: Path) -> FleetMachine:
    about = tomllib.loads((directory / "machine.toml").read_text())
    return FleetMachine(
        directory,
        about,
        Expectation.model_validate(tomllib.loads((directory / "expect.toml").read_text())),
        HostFacts.from_json((directory / "facts.json").read_text()),
        read_settings(about["settings"]),
    )


@pytest.fixture(params=FLEET, ids=[path.name for path in FLEET])
def machine(request: pytest.FixtureRequest) -> FleetMachine:
    return read(request.param)


@pytest.fixture(scope="session")
def fleet() -> tuple[FleetMachine, ...]:
    return tuple(map(read, FLEET))
