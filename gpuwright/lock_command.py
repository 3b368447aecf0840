"""`gpuwright lock` and `gpuwright rollback`: the exact versions that change only together, from the control machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gpuwright import locks
from gpuwright.connection import Connection, connect
from gpuwright.errors import GpuwrightError
from gpuwright.inventory import HostEntry
from gpuwright.locks import Lock, LockedVersions
from gpuwright.operations.apt import Apt
from gpuwright.operations.locked_packages import LockedPackages, belongs, closure, patterns_of
from gpuwright.operations.root_shell import Answer
from gpuwright.operations.shell import script
from gpuwright.paths import ROOT
from gpuwright.plan import HostPlan
from gpuwright.plan.stack_model import LockedSet
from gpuwright.verify.host import replan

APT_S = 600
_CANDIDATES = """
apt-cache policy "$@" | awk '/^[^ ]/ { name = $1; sub(/:$/, "", name) } $1 == "Candidate:" { print name "\\t" $2 }'
"""


@dataclass(frozen=True)
class Row:
    """A package of a set: what is locked, installed and on offer; "" for nothing."""

    of: str
    package: str
    locked: str
    installed: str
    candidate: str


def show(entry: HostEntry) -> tuple[Row, ...]:
    """What is locked, and what the archive has, as far as the host's indexes know."""
    with connect(entry) as connection:
        _, plan = replan(connection, entry)
        lock = locks.read(_path(entry))
        return tuple(row for locked in sets_of(plan) for row in _rows(connection, locked, lock))


def update(entry: HostEntry) -> tuple[Row, ...]:
    """Lock what the archive has now; the next deploy brings it about. Gives the rows that changed."""
    path = _path(entry)
    with connect(entry) as connection:
        _, plan = replan(connection, entry)
        lock = locks.read(path)
        shell = _Shell(connection)
        fresh = dict(lock.sets)
        there: dict[str, str] = {}
        for locked in sets_of(plan):
            apt = Apt(shell, APT_S, locked.suite)
            apt.update()
            names = locked.first + locked.packages
            installed = _installed(connection, locked)
            moved = {
                name: new
                for name, _, new in apt.simulate(names).installs
                if belongs(locked, name) or name in names
            }
            fresh[locked.name] = LockedVersions(names, {**installed, **moved})
            there |= installed
    changed = []
    for name, each in fresh.items():
        known = lock.sets[name].versions if name in lock.sets else {}
        for package, version in each.versions.items():
            if known.get(package) != version:
                changed.append(Row(name, package, known.get(package, ""), there.get(package, ""), version))
    if changed:
        _replace(path, lock, Lock(fresh))
    return tuple(changed)


def rollback(entry: HostEntry, words: tuple[str, ...]) -> int:
    """Take back the versions before the last change and deploy them; gives pyinfra's exit code.

    Raises GpuwrightError where nothing is known of an earlier state.
    """
    path = _path(entry)
    previous = path.with_suffix(".previous.json")
    if not previous.exists() or entry.source is None:
        raise GpuwrightError.of(
            f"host {entry.name}",
            f"{previous.name} is not beside its lock: the versions were never changed by a deploy",
            "an earlier state to go back to",
            f"Take {path.name} of an earlier commit, and deploy.",
        )
    now, before = locks.read(path), locks.read(previous)
    locks.write(previous, now)
    locks.write(path, before)
    # The deploy runs as a person would start it: the command line package must not be imported here.
    pyinfra = Path(sys.executable).parent / "pyinfra"
    call = [str(pyinfra), str(entry.source), str(ROOT / "deploy.py"), "--limit", entry.name, *words]
    return subprocess.run(call, cwd=ROOT, env=os.environ, check=False).returncode


def render(rows: tuple[Row, ...], title: str) -> Table:
    """The rows as a table."""
    table = Table("set", "package", "locked", "installed", "archive has", title=title, title_justify="left")
    for row in rows:
        table.add_row(row.of, row.package, row.locked, row.installed, row.candidate)
    return table


def sets_of(plan: HostPlan) -> tuple[LockedSet, ...]:
    """All locked sets of a plan, in the order in which roles bring them about."""
    return plan.kernel_steps.locked + plan.nvidia_driver.locked + plan.rocm.locked + plan.gpu_runtime.locked


@dataclass(frozen=True)
class _Shell:
    """Root over the connection of a command."""

    connection: Connection

    def run(self, text: str, *arguments: str, live: bool = False) -> Answer:
        done = self.connection.run(script(text, *arguments).get_raw_value(), timeout=APT_S)
        said = [*done.stdout.splitlines(), *done.stderr.splitlines()]
        return Answer(done.ok, tuple(done.stdout.splitlines()), tuple(line for line in said if line.strip()))

    def say(self, message: str) -> None:
        Console(stderr=True, highlight=False).print(message, style="dim", markup=False)


def _rows(connection: Connection, locked: LockedSet, lock: Lock) -> list[Row]:
    installed = _installed(connection, locked)
    wanted = lock.versions(locked.name, locked.first + locked.packages)
    names = sorted({*installed, *wanted, *locked.first, *locked.packages})
    lines = _Shell(connection).run(_CANDIDATES, *names).lines
    candidates: Mapping[str, str] = dict(line.split("\t", 1) for line in lines if "\t" in line)
    return [
        Row(locked.name, name, wanted.get(name, ""), installed.get(name, ""), candidates.get(name, ""))
        for name in names
    ]


def _installed(connection: Connection, locked: LockedSet) -> dict[str, str]:
    fact = LockedPackages()
    answer = _Shell(connection).run(fact.command(patterns=patterns_of(locked)).get_raw_value())
    there = fact.process(list(answer.lines))
    return {name: there[name].version for name in closure(there, locked.first + locked.packages)}


def _path(entry: HostEntry) -> Path:
    data = {**({locks.DATUM: locks.beside(entry.source)} if entry.source else {}), **entry.data}
    path = locks.path_of(data, entry.name)
    if path is None:
        raise GpuwrightError.of(
            f"host {entry.name}",
            "it comes from no inventory file",
            "an inventory, with locks beside it",
            "Declare it.",
        )
    return path


def _replace(path: Path, before: Lock, after: Lock) -> None:
    if before.sets:
        locks.write(path.with_suffix(".previous.json"), before)
    locks.write(path, after)
