"""Hosts as an inventory file declares them, read the way the pyinfra command reads it.

pyinfra's own reader lives in its command line package, which patches the whole process when imported; this
one gives the same hosts and data (a contract test compares both) and leaves the process alone.
"""

from __future__ import annotations

import ast
import difflib
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory as PyinfraInventory
from pyinfra.context import ctx_inventory

from gpuwright import locks
from gpuwright.errors import GpuwrightError
from gpuwright.paths import ROOT

Data = dict[str, object]
Hosts = list[str | tuple[str, Data]]
LOCAL = "@local"

# pyinfra leaves these without annotations.
_make_inventory: Callable[..., PyinfraInventory] = PyinfraInventory
_current_inventory: Callable[[], PyinfraInventory | None] = ctx_inventory.get
_set_inventory: Callable[[PyinfraInventory | None], None] = ctx_inventory.set


@dataclass(frozen=True)
class HostEntry:
    """One host: `data` is merged (host over group over all); it may hold secrets, so repr leaves it out."""

    name: str
    data: Mapping[str, object] = field(repr=False)
    groups: tuple[str, ...] = ()
    source: Path | None = None

    def pyinfra_inventory(self) -> PyinfraInventory:
        """pyinfra's inventory of this host alone, for one State per host."""
        members: dict[str, tuple[Hosts, Data]] = {group: ([self.name], {}) for group in self.groups}
        # A connector adds groups of its own ("@local") by itself.
        members = {group: member for group, member in members.items() if not group.startswith("@")}
        folder = {locks.DATUM: locks.beside(self.source)} if self.source else {}
        return _make_inventory(([(self.name, {**folder, **self.data})], {}), **members)


@dataclass(frozen=True)
class Inventory:
    """The hosts of one inventory file, in its order."""

    path: Path
    hosts: Mapping[str, HostEntry]

    @property
    def names(self) -> tuple[str, ...]:
        """Host names in the file's order."""
        return tuple(self.hosts)

    def host(self, name: str) -> HostEntry:
        """The host called `name`; GpuwrightError names close matches."""
        if name in self.hosts:
            return self.hosts[name]
        raise _unknown(name, self.names, str(self.path))

    def pyinfra_inventory(self, name: str) -> PyinfraInventory:
        """pyinfra's inventory of the host `name` alone, with all its data."""
        return self.host(name).pyinfra_inventory()


def find_host(name: str, inventory: Path | None = None) -> HostEntry:
    """The host `name` of `inventory`, or of the one file below `inventories/` that declares it.

    `@local` needs no inventory. GpuwrightError when no file, or more than one, has the host.
    """
    if inventory is not None:
        loaded = load(inventory)
        undeclared_local = name == LOCAL and name not in loaded.hosts
        return HostEntry(LOCAL, {}, (), loaded.path) if undeclared_local else loaded.host(name)
    found: list[HostEntry] = []
    known: list[str] = []
    broken: list[GpuwrightError] = []
    directory = _inventories()
    for path in sorted(directory.glob("*.py")):
        try:
            loaded = load(path)
        except GpuwrightError as error:  # another file may well have the host
            broken.append(error)
            continue
        known += loaded.names
        if name in loaded.hosts:
            found.append(loaded.hosts[name])
    if len(found) == 1:
        return found[0]
    if found:
        paths = ", ".join(str(entry.source) for entry in found)
        raise GpuwrightError.of(
            f"host {name}", f"declared in {paths}", "one inventory", "Choose with --inventory PATH."
        )
    if name == LOCAL:
        return HostEntry(LOCAL, {})
    unknown = _unknown(name, tuple(known), f"{directory}/*.py")
    raise GpuwrightError(*unknown.refusals, *(refusal for error in broken for refusal in error.refusals))


def load(path: Path) -> Inventory:
    """Run an inventory file and the group_data beside it, and merge each host's data.

    group_data is looked for beside the file and, where the file lies in `inventories/`, one level up: where
    pyinfra finds it when started there. GpuwrightError when a file is missing or fails, with file and line.
    """
    path = path.expanduser().absolute()
    if not path.is_file():
        raise GpuwrightError.of(
            f"inventory {path}", "there is no such file", "an inventory file", "Check --inventory."
        )
    root = path.parent.parent if path.parent.name == "inventories" else path.parent
    with _importable(root, Path.cwd()):
        try:
            groups = {key: value for key, value in _execute(path).items() if _is_group(key, value)}
            everyone, parts = _parts(path, groups, list(dict.fromkeys([root, path.parent])))
            combined = _make_inventory(everyone, **parts)
            entries = {host.name: _entry(host, path) for host in combined}
        except (PyinfraError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise GpuwrightError.of(
                f"inventory {path}",
                f"is not understood ({error})",
                'lists of "name" or ("name", {data}), or a tuple (list, {data})',
                "Correct the file.",
            ) from error
    return Inventory(path, entries)


def _entry(host: Host, path: Path) -> HostEntry:
    merged = cast(Callable[[], Data], host.data.dict)()
    return HostEntry(host.name, merged, tuple(dict.fromkeys(host.groups)), path)


def _parts(
    path: Path, groups: dict[str, object], folders: list[Path]
) -> tuple[tuple[Hosts, Data], dict[str, tuple[Hosts, Data]]]:
    """The group `all`, and the others by name, each with the data from its group_data file."""
    split = {name: _split(group) for name, group in groups.items()}
    names = dict.fromkeys(_name(host) for hosts, _ in split.values() for host in hosts)
    everyone = split.pop("all", (list(names), {}))
    split.setdefault(path.stem, (everyone[0], {}))
    parts = {**split, "all": everyone}
    from_files: dict[str, Data] = {}
    # group_data may read `pyinfra.inventory`, so it sees the hosts without the data that it is about to add.
    with _current(_make_inventory(everyone, **split)):
        for folder in folders:
            for file in sorted((folder / "group_data").glob("*.py")):
                from_files.setdefault(file.stem, {}).update(_exports(file))
    parts = {name: (hosts, {**data, **from_files.pop(name, {})}) for name, (hosts, data) in parts.items()}
    # What is left belongs to groups that only a connector will fill.
    parts |= {name: ([], data) for name, data in from_files.items()}
    return parts.pop("all"), parts


def _split(group: object) -> tuple[Hosts, Data]:
    hosts, data = group if isinstance(group, tuple) else (group, {})
    return cast(Hosts, hosts), dict(data)


def _name(host: str | tuple[str, Data]) -> str:
    return host[0] if isinstance(host, tuple) else host


def _is_group(key: str, value: object) -> bool:
    if key.startswith("_") or not isinstance(value, list | tuple):
        return False
    hosts = value[0] if isinstance(value, tuple) else value
    return all(isinstance(host, str | tuple) for host in hosts)


def _exports(path: Path) -> Data:
    """What a group_data file defines, without what it imports."""
    values = _execute(path)
    imported = {
        alias.asname or alias.name.split(".")[0]
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    chosen = cast(list[str], values.get("__all__", [key for key in values if key not in imported]))
    return {key: value for key, value in values.items() if key in chosen and not key.startswith("__")}


def _execute(path: Path) -> Data:
    """Run a file as pyinfra does and return its globals."""
    values: Data = {"__file__": str(path)}
    try:
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), values)
    except GpuwrightError:
        raise
    except SyntaxError as error:
        where = f"{error.filename or path}, line {error.lineno}"
        raise GpuwrightError.of(
            where, f"syntax error ({error.msg})", "valid Python", "Correct it."
        ) from error
    except (Exception, SystemExit) as error:  # any code may stand there, hence any exception
        lines = [
            frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
        ]
        where = f"{path}, line {lines[-1]}" if lines else str(path)
        observed = f"{type(error).__name__}: {error}"
        raise GpuwrightError.of(where, observed, "a file that runs", "Correct it.") from error
    return values


@contextmanager
def _importable(*directories: Path) -> Iterator[None]:
    """Let inventory files import helpers from the checkout, as they can under the pyinfra command."""
    added = [str(directory) for directory in directories if str(directory) not in sys.path]
    sys.path.extend(added)
    try:
        yield
    finally:
        for directory in added:
            if directory in sys.path:
                sys.path.remove(directory)


@contextmanager
def _current(inventory: PyinfraInventory) -> Iterator[None]:
    """`pyinfra.inventory` for the block; pyinfra's own context manager would leak it after an exception."""
    before = _current_inventory()
    _set_inventory(inventory)
    try:
        yield
    finally:
        _set_inventory(before)


def _inventories() -> Path:
    """`inventories/` of the current directory, else of the checkout that holds this package."""
    here = Path.cwd() / "inventories"
    return here if here.is_dir() else ROOT / "inventories"


def _unknown(name: str, known: tuple[str, ...], where: str) -> GpuwrightError:
    close = difflib.get_close_matches(name, known, n=3)
    remedy = f"Did you mean {' or '.join(close)}?" if close else f"Known hosts: {', '.join(known) or 'none'}."
    return GpuwrightError.of(f"host {name}", f"not declared in {where}", "a declared host", remedy)
