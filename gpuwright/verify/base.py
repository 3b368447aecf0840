"""Checks of what lies below the services: packages, files, limits, the clock, accounts and keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256

from gpuwright.operations.accounts import NO_SHELL
from gpuwright.plan import HostPlan
from gpuwright.plan.model import EnvFile, Json, JsonMerge, ManagedFile, Package, SystemUser
from gpuwright.render import render
from gpuwright.verify.check import DEPLOY, UNREAD, Finding, check, compare, skipped, unknown
from gpuwright.verify.parts import planned
from gpuwright.verify.readings import ABSENT, Readings

NOT_YOURS = "Whoever changed it wanted something: look first, then run the deploy again, which replaces it."


@check("packages.installed", severity="major", source="dpkg-query(1)")
def packages(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Is every planned package, or an alternative to it, fully installed?"""
    for package in planned(plan, Package):
        names = (package.name, *package.alternatives)
        found = None if readings.packages is None else [readings.packages.get(name) for name in names]
        if found is None or None in found:
            yield unknown(package.name, UNREAD, "installed")
            continue
        there = [name for name, status in zip(names, found, strict=True) if status and status[1:2] == "i"]
        observed = (
            "installed" if package.name in there else f"{there[0]} is" if there else f"dpkg says {found[0]}"
        )
        meaning = "Later steps, or the service itself, call what it brings."
        yield compare(package.name, observed, "installed", meaning, DEPLOY, good=bool(there))


@check("files.as-rendered", severity="critical", source="templates/, rendered from the plan")
def managed_files(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Does every managed file have the content, mode and owner that the plan gives it?"""
    for file in planned(plan, ManagedFile):
        found = (readings.files or {}).get(file.path)
        expected = f"{file.mode} root:root, content as rendered"
        if found is None:
            yield unknown(file.path, UNREAD, expected)
            continue
        same = found.digest == sha256(render(file).encode()).hexdigest()
        observed = f"{found.kind} {found.owner}, content {'as rendered' if same else 'differs'}"
        if not found.kind.isdigit():
            observed = {ABSENT: ABSENT, "link": "a symbolic link"}.get(found.kind, "not a regular file")
        elif found.directory != "root":
            observed += ", in a directory that others can write to"
        yield compare(
            file.path, observed, expected, "Somebody else's words decide what runs here.", NOT_YOURS
        )


@check("files.dropped", severity="minor", source="plan, dropped_files")
def dropped_files(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Are the files of settings that are no longer declared gone?"""
    for path in (*plan.base.dropped_files, *plan.container_engine.dropped_files):
        found = (readings.files or {}).get(path)
        observed = None if found is None else ABSENT if found.kind == ABSENT else "there"
        yield compare(path, observed, ABSENT, "A setting that nobody declares is still in force.", DEPLOY)


@check("manager.limits", severity="major", source="systemd-system.conf(5)")
def manager(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Does the running service manager have the planned limits?"""
    for name, value in plan.base.manager:
        observed = (readings.manager or {}).get(name)
        meaning = "Services that pin memory fail at their start, or later and less clearly."
        yield compare(name, observed, value, meaning, DEPLOY)


@check("clock.synchronised", severity="minor", source="timedatectl(1), NTPSynchronized")
def clock(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Is the clock right, where the plan cares for it?"""
    if not plan.base.units:
        yield skipped(
            "clock", "no time daemon is planned: base_time_sync is none, or the clock is an outer host's"
        )
        return
    action = "Look at `timedatectl timesync-status`, and at the way to the time servers."
    meaning = "TLS fails with a wrong clock, and logs cannot be compared."
    yield compare("clock", readings.clock_synchronised, "yes", meaning, action)


@check("engine.daemon-json", severity="major", source="docker's daemon.json, merged from the plan")
def daemon_json(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Does daemon.json hold the planned keys? Others may stand beside them."""
    for merge in planned(plan, JsonMerge):
        wanted: dict[str, Json] = json.loads(merge.values)
        expected = f"the plan's {', '.join(sorted(wanted)) or 'JSON object, without keys of ours'}"
        if readings.texts is None or merge.path not in readings.texts:
            yield unknown(merge.path, UNREAD, expected)
            continue
        # Values are not shown: a proxy's URL may hold a password.
        observed = _missing(readings.texts[merge.path], wanted) or expected
        meaning = "The engine does not do what is declared, or will not start again."
        yield compare(merge.path, observed, expected, meaning, DEPLOY)


@check("account.no-login", severity="critical", source="plan, users")
def accounts(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Does each service account exist, without login, and with its own group alone?"""
    for user in planned(plan, SystemUser):
        expected = "no shell, password locked, not root, its own group alone"
        if readings.accounts is None or user.name not in readings.accounts:
            yield unknown(user.name, UNREAD, expected)
            continue
        account = readings.accounts[user.name]
        if account is None:
            meaning = "The service cannot start again: its files name this account's ids."
            yield compare(user.name, ABSENT, expected, meaning, DEPLOY)
            continue
        wrong = [
            text
            for bad, text in (
                (account.shell not in NO_SHELL, f"shell {account.shell}"),
                (not account.locked, "password not locked"),
                (account.uid == "0", "user id 0"),
                (account.groups != (user.name,), f"groups {', '.join(account.groups)}"),
            )
            if bad
        ]
        meaning = "What breaks out of the engine could be somebody who logs in."
        yield compare(user.name, ", ".join(wrong) or expected, expected, meaning, DEPLOY)


@check("keys.private", severity="critical", source="systemd.exec(5), EnvironmentFile=")
def env_files(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Is each environment file for root alone, with one key and the account's ids?"""
    for file in planned(plan, EnvFile):
        found = (readings.env_files or {}).get(file.path)
        expected = "0600 root:root, one key, the account's ids, the planned GPUs"
        if found is None:
            yield unknown(file.path, UNREAD, expected)
            continue
        if found.gpus == "unknown":
            yield unknown(file.path, "nobody can say what its GPUs are called here", expected)
            continue
        wrong = [
            text
            for bad, text in (
                ((found.mode, found.owner) != ("0600", "root:root"), f"{found.mode} {found.owner}"),
                (found.keys != "1", f"{found.keys} keys of the right shape"),
                (found.uid != "right", "another user id"),
                (found.gid != "right", "another group id"),
                (found.gpus == "wrong", "other GPUs"),
            )
            if bad
        ]
        observed = ABSENT if found.mode == ABSENT else ", ".join(wrong) or expected
        meaning = "Others can read the key, or the service does not get it at its next start."
        yield compare(
            file.path, observed, expected, meaning, f"{DEPLOY} A key that was read is best made anew."
        )


def _missing(text: str | None, wanted: dict[str, Json]) -> str:
    """What of `wanted` a JSON file lacks, in words without values; empty where nothing is missing."""
    if text is None:
        return ABSENT
    try:
        found = json.loads(text)
    except ValueError:
        return "not JSON"
    if not isinstance(found, dict):
        return "JSON, but no object"
    different = _differing(found, wanted)
    return f"differs in {', '.join(different)}" if different else ""


def _differing(found: dict[str, Json], wanted: dict[str, Json], path: str = "") -> list[str]:
    names: list[str] = []
    for key, value in wanted.items():
        there = found.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            names += _differing(there, value, f"{path}{key}.")
        elif key not in found or there != value:
            names.append(f"{path}{key}")
    return names
