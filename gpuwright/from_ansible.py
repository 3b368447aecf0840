"""A pyinfra inventory made of an Ansible inventory, for a team that has one.

from gpuwright.from_ansible import groups

globals().update(groups("hosts.yml", beside=__file__))
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gpuwright.ansible.host_data import host_data
from gpuwright.ansible.listing import listed
from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.inventory import Hosts

# Ansible makes these by itself.
_IMPLIED = ("all", "ungrouped")


def groups(path: str, *, beside: str, playbook_dir: str | None = None) -> dict[str, Hosts]:
    """Groups for a pyinfra inventory from the Ansible inventory `path`: a file, directory or program.

    Paths count from the directory of the file `beside`. `all` has every host with its merged variables as data;
    the other groups have names. Host and group variables, vault and plugins are read by Ansible, as its
    configuration says; variables beside playbooks count with `playbook_dir`. Raises GpuwrightError, with all that
    is wrong.
    """
    directory = Path(beside).absolute().parent
    source = directory / Path(path).expanduser()
    found = listed(source, directory / Path(playbook_dir).expanduser() if playbook_dir else None)
    if not found.variables:
        raise GpuwrightError.of(
            f"Ansible inventory {source}", "it declares no host", "at least one host", "Add hosts to it."
        )
    hosts: dict[str, tuple[str, dict[str, object]]] = {}
    refusals: list[Refusal] = []
    for name, variables in found.variables.items():
        try:
            hosts[name] = host_data(name, variables)
        except GpuwrightError as error:
            refusals += error.refusals
    names = {name: ours for name, (ours, _) in hosts.items()}
    refusals += _not_for_pyinfra(found.groups, names)
    if refusals:
        raise GpuwrightError(*refusals)
    members: dict[str, Hosts] = {
        group: [names[host] for host in theirs]
        for group, theirs in found.groups.items()
        if group not in _IMPLIED
    }
    everyone: Hosts = list(hosts.values())
    return {"all": everyone, **members}


def _not_for_pyinfra(found: Mapping[str, object], names: Mapping[str, str]) -> list[Refusal]:
    local = [name for name, ours in names.items() if ours == "@local"]
    strange = [name for name, ours in names.items() if ours.startswith("@") and ours != "@local"]
    hidden = [group for group in found if group.startswith("_")]
    refusals = [
        Refusal(f"host {name}", "pyinfra reads @ as a connector", "a name without it", "Rename the host.")
        for name in strange
    ]
    refusals += [
        Refusal(
            f"group {group}", "pyinfra leaves names with _ out", "a name that starts otherwise", "Rename it."
        )
        for group in hidden
    ]
    if len(local) > 1:
        observed = "each has ansible_connection: local, and this machine is one host"
        refusals.append(Refusal(f"hosts {', '.join(local)}", observed, "one of them", "Leave one."))
    return refusals
