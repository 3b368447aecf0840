"""Body of the inventory plugin: a pyinfra inventory, read in a child process, put into Ansible's inventory.

Nothing here imports Ansible or pyinfra: playbooks/inventory_plugins/gpuwright.py is the plugin itself.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol, TypedDict

from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.paths import ROOT


class Target(Protocol):
    """What is needed of Ansible's InventoryData."""

    @property
    def groups(self) -> Mapping[str, object]: ...
    def add_group(self, group: str) -> str: ...
    def add_host(self, host: str, group: str | None = None) -> str: ...
    def set_variable(self, entity: str, varname: str, value: object) -> None: ...


class Host(TypedDict):
    """One host as the child prints it."""

    name: str
    groups: list[str]
    variables: dict[str, object]


def wants(path: str) -> bool:
    """Whether `path` is a pyinfra inventory: Python that is no program, and no data of groups."""
    file = Path(path)
    return file.suffix == ".py" and file.parent.name != "group_data" and not os.access(file, os.X_OK)


def fill(target: Target, path: str, warn: Callable[[str], object], reserved: Iterable[str] = ()) -> None:
    """Add the hosts, groups and variables of the inventory `path` to `target`.

    `reserved` are names of variables that Ansible sets itself. GpuwrightError says all that is wrong.
    """
    hosts = _read(path, warn)
    names = {host["name"] for host in hosts}
    clashes = [name for name in names if name in target.groups]
    if clashes:
        raise GpuwrightError(*(_is_a_group(name) for name in sorted(clashes)))
    groups = _group_names(path, hosts, names, warn)
    taken = set(reserved)
    for host in hosts:
        target.add_host(host["name"])
        for group in filter(None, map(groups.get, host["groups"])):
            target.add_host(host["name"], target.add_group(group))
        for key, value in host["variables"].items():
            if key in taken:
                warn(f"host {host['name']}, {key}: left out; Ansible sets a variable of this name itself")
            else:
                target.set_variable(host["name"], key, value)


def _read(path: str, warn: Callable[[str], object]) -> list[Host]:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    child = subprocess.run(
        # -P: what lies in the current directory is no module of the child.
        [sys.executable, "-P", "-m", "gpuwright.ansible.dump", path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    said = child.stderr.strip()
    if child.returncode != 0:
        last = said.splitlines()[-1] if said else "it said nothing"
        raise GpuwrightError.of(
            f"inventory {path}",
            f"reading it ended with exit code {child.returncode} ({last})",
            f"gpuwright and what it needs beside {sys.executable}",
            f"Run it by hand: {sys.executable} -m gpuwright.ansible.dump {path}",
        )
    if said:
        warn(said)
    document = json.loads(child.stdout)
    if "refusals" in document:
        raise GpuwrightError(*(Refusal(*parts) for parts in document["refusals"]))
    for warning in document["warnings"]:
        warn(warning)
    hosts: list[Host] = document["hosts"]
    return hosts


def _group_names(
    path: str, hosts: Iterable[Host], names: set[str], warn: Callable[[str], object]
) -> dict[str, str | None]:
    """Ansible's name for each group; None for one that it cannot have."""
    found: dict[str, str | None] = {}
    for name in dict.fromkeys(group for host in hosts for group in host["groups"]):
        safe = re.sub(r"^[\d\W]|[^\w]", "_", name)
        if safe in names or safe == "ungrouped":
            why = "a host has this name" if safe in names else "Ansible has a group of this name itself"
            warn(f"inventory {path}: group {name} is left out under Ansible; {why}")
            found[name] = None
            continue
        if safe != name:
            warn(f"inventory {path}: group {name} is called {safe} under Ansible")
        found[name] = safe
    return found


def _is_a_group(name: str) -> Refusal:
    observed = "a group of another inventory has this name, and would get the host's variables"
    return Refusal(f"host {name}", observed, "a name of its own", "Rename one of them.")
