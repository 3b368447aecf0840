"""A pyinfra inventory as JSON for Ansible: `python -m gpuwright.ansible.dump inventories/lab.py`.

Ansible runs it as a child, so that neither the inventory's code nor pyinfra and gevent get into its process.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import astuple
from pathlib import Path
from typing import TextIO

from gpuwright.ansible.host_vars import HostVars, host_vars
from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.inventory import load


def main() -> None:
    """Print `{"hosts": [...], "warnings": [...]}`, or `{"refusals": [...]}` for an inventory that is wrong."""
    out = _stdout_of_ours()
    try:
        document = dumped(Path(sys.argv[1]))
    except GpuwrightError as error:
        document = {"refusals": [astuple(refusal) for refusal in error.refusals]}
    with out:
        json.dump(document, out)


def dumped(path: Path) -> dict[str, object]:
    """The hosts of the inventory `path` with their groups and variables; GpuwrightError with all that is wrong."""
    entries = load(path).hosts
    if not entries:
        raise GpuwrightError.of(
            f"inventory {path}", "it declares no host", "a file with lists of hosts", "Add hosts to it."
        )
    hosts = [host_vars(entry.name, entry.data) for entry in entries.values()]
    refusals = [refusal for host in hosts for refusal in host.refusals] + list(_twice(hosts))
    if refusals:
        raise GpuwrightError(*refusals)
    groups = [_groups(entry.groups) for entry in entries.values()]
    return {
        "hosts": [
            {"name": host.name, "groups": names, "variables": host.variables}
            for host, names in zip(hosts, groups, strict=True)
        ],
        "warnings": [warning for host in hosts for warning in host.warnings],
    }


def _twice(hosts: Iterable[HostVars]) -> Iterable[Refusal]:
    names = [host.name for host in hosts]
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            observed = "two hosts have this name under Ansible, which knows no @ssh/ and no @local"
            yield Refusal(f"host {name}", observed, "a name for each", "Rename one.")


def _groups(names: Iterable[str]) -> list[str]:
    """Ansible has `all` by itself, and a connector's own groups ("@local") mean nothing to it."""
    return [name for name in names if name != "all" and not name.startswith("@")]


def _stdout_of_ours() -> TextIO:
    """stdout for the JSON alone: what the inventory and its children print goes to stderr from here on."""
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return ours


if __name__ == "__main__":
    main()
