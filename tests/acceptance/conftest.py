"""Acceptance of your hosts: `pytest tests/acceptance --inventory inventories/lab.py --junitxml=report.xml`.

Needs the extra `dev` of this package. Nothing on a host is changed. Hosts' names are the tests' ids, so `-k cpu1`
chooses one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from testinfra.host import Host

from gpuwright.connection import Connection, connect
from gpuwright.errors import GpuwrightError
from gpuwright.inventory import Inventory, load
from gpuwright.plan import HostPlan
from gpuwright.verify.check import CHECKS
from gpuwright.verify.host import read, replan
from gpuwright.verify.verdict import Verdict
from tests.acceptance.backend import GpuwrightBackend

NO_INVENTORY = (
    "acceptance judges your hosts; name them: pytest tests/acceptance --inventory inventories/lab.py"
)
_inventory = pytest.StashKey[Inventory]()


@dataclass(frozen=True)
class Subject:
    """A host that could be read: its connection, its plan, and verify's verdicts by check."""

    connection: Connection
    plan: HostPlan
    verdicts: dict[str, list[Verdict]]


class Subjects:
    """Hosts that were read so far: each once, and an error is kept as well."""

    def __init__(self, inventory: Inventory, stack: ExitStack) -> None:
        self._inventory = inventory
        self._stack = stack
        self._known: dict[str, Subject | GpuwrightError] = {}

    def get(self, name: str) -> Subject:
        """The host `name`; the test fails with the reasons where it could not be judged."""
        if name not in self._known:
            try:
                self._known[name] = self._read(name)
            except GpuwrightError as error:
                self._known[name] = error
        found = self._known[name]
        if isinstance(found, GpuwrightError):
            pytest.fail(f"could not judge: {found}", pytrace=False)
        return found

    def _read(self, name: str) -> Subject:
        entry = self._inventory.host(name)
        connection = self._stack.enter_context(connect(entry))
        facts, plan = replan(connection, entry)
        readings = read(connection, facts, plan, fast=False)
        verdicts = {check.name: list(check.judge(readings, plan)) for check in CHECKS.values()}
        return Subject(connection, plan, verdicts)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--inventory", type=Path, help="the inventory file whose hosts are judged")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--inventory", None)
    if path is not None:
        try:
            config.stash[_inventory] = load(path)
        except GpuwrightError as error:
            raise pytest.UsageError(str(error)) from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    inventory = metafunc.config.stash.get(_inventory, None)
    skip = pytest.mark.skip(reason=NO_INVENTORY)
    names = inventory.names if inventory else (pytest.param("", marks=skip, id="no-inventory"),)
    if "check" in metafunc.fixturenames:
        metafunc.parametrize("check", CHECKS)
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", names, scope="session")


@pytest.fixture(scope="session")
def subjects(pytestconfig: pytest.Config) -> Iterator[Subjects]:
    with ExitStack() as stack:
        yield Subjects(pytestconfig.stash[_inventory], stack)


@pytest.fixture
def subject(name: str, subjects: Subjects) -> Subject:
    return subjects.get(name)


@pytest.fixture
def host(subject: Subject) -> Host:
    return Host(GpuwrightBackend(subject.connection))


@pytest.fixture
def plan(subject: Subject) -> HostPlan:
    return subject.plan
