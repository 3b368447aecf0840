"""Packages that change only together: installed at exact versions, tried before, held and recorded after."""

from __future__ import annotations

from collections.abc import Generator, Mapping

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import FunctionCommand, PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from gpuwright import locks
from gpuwright.errors import GpuwrightError
from gpuwright.locks import Lock, LockedVersions
from gpuwright.operations import apt_lock
from gpuwright.operations.locked_change import Change
from gpuwright.operations.locked_packages import (
    LockedPackages,
    Packages,
    below,
    closure,
    patterns_of,
    too_old,
)
from gpuwright.operations.maintenance import allowed
from gpuwright.operations.root_shell import RootShell
from gpuwright.operations.shell import failed, failure, script, show, will_change
from gpuwright.plan.stack_model import LockedSet


@operation()
def present(sets: tuple[LockedSet, ...], lock_timeout_s: int) -> Generator[PyinfraCommand]:
    """
    Bring each set to the versions of the host's lock, or to what apt would choose where it has none.

    + sets: packages that change only together
    + lock_timeout_s: how long another run of apt is waited for
    """
    for locked in sets:
        names = locked.first + locked.packages
        try:
            exact = locks.read(locks.path_of(host.data.dict(), host.name)).versions(locked.name, names)
        except GpuwrightError as error:
            yield failure(*error.refusals)
            return
        there = host.get_fact(LockedPackages, patterns=patterns_of(locked))
        if old := _too_old(locked, there, exact):
            yield failure(too_old(locked, old, "locked" if exact else "installed"))
            return
        missing = _missing(there, names, exact)
        if not missing:
            host.noop(f"{locked.name}: all packages are as locked")
            continue
        show(f"{locked.name}: apt install {' '.join(missing)}")
        will_change(locked.name)
        yield apt_lock.free(lock_timeout_s)
        yield FunctionCommand(_install, (locked, dict(exact), lock_timeout_s), {})


@operation()
def held(sets: tuple[LockedSet, ...]) -> Generator[PyinfraCommand]:
    """
    Hold every package of the sets and all that they brought along: no upgrade moves one of them alone.

    + sets: packages that change only together
    """
    for locked in sets:
        there = host.get_fact(LockedPackages, patterns=patterns_of(locked))
        loose = [n for n in closure(there, locked.first + locked.packages) if not there[n].held]
        if not loose:
            host.noop(f"{locked.name}: all packages are held")
            continue
        show(f"{locked.name}: hold {' '.join(loose)}")
        yield script('apt-mark hold "$@" >/dev/null', *loose)


@operation()
def recorded(sets: tuple[LockedSet, ...]) -> Generator[PyinfraCommand]:
    """
    Write the exact versions into the host's lock on the control machine, where they were resolved anew.

    + sets: packages that change only together
    """
    for locked in sets:
        path = locks.path_of(host.data.dict(), host.name)
        if path is None:
            host.noop("no inventory says where locks are kept")
            continue
        there = host.get_fact(LockedPackages, patterns=patterns_of(locked))
        now = _versions(there, locked)
        try:
            before = locks.read(path).sets.get(locked.name)
        except GpuwrightError as error:
            yield failure(*error.refusals)
            return
        if now == before or (before and not set(locked.first + locked.packages) <= set(there)):
            host.noop(f"{locked.name}: {path.name} says so")
            continue
        show(f"{locked.name}: versions as installed -> {path}")
        gone = [name for name in (before.versions if before else {}) if name not in now.versions]
        loose = [name for name in gone if name in there and there[name].held]
        if loose:
            yield script('apt-mark unhold "$@" >/dev/null', *loose)
        yield FunctionCommand(_record, (locked, str(path)), {})


def _too_old(locked: LockedSet, there: Packages, exact: Mapping[str, str]) -> tuple[str, ...]:
    """What the lock, or the host where nothing is locked, has in a version below the set's minimum."""
    known = {**{name: each.version for name, each in there.items()}, **exact}
    return tuple(
        f"{name} {known[name]}"
        for name in locked.packages
        if name in known and below(known[name], locked.minimum)
    )


def _missing(there: Packages, names: tuple[str, ...], exact: Mapping[str, str]) -> list[str]:
    missing = [f"{name}={version}" for name, version in exact.items() if not _is(there, name, version)]
    return missing + [name for name in names if name not in exact and not _is(there, name, None)]


def _is(there: Packages, name: str, version: str | None) -> bool:
    found = there.get(name)
    return found is not None and found.whole and version in (None, found.version)


def _versions(there: Packages, locked: LockedSet) -> LockedVersions:
    names = locked.first + locked.packages
    return LockedVersions(names, {name: there[name].version for name in closure(there, names)})


def _moved(before: LockedVersions | None, there: Packages, locked: LockedSet) -> bool:
    """Whether what is declared has other versions now; what it brought along may change its name with a lock."""
    names = locked.first + locked.packages
    return before is not None and any(before.versions.get(name) != there[name].version for name in names)


def _install(state: State, host: Host, locked: LockedSet, exact: dict[str, str], lock_timeout_s: int) -> bool:
    try:
        Change(RootShell(host), locked, exact, lock_timeout_s, allowed(host)).make()
    except GpuwrightError as error:
        return failed(state, host, error.refusals)
    return True


def _record(state: State, host: Host, locked: LockedSet, path: str) -> bool:
    """Read again: what was installed in this run is there only now."""
    try:
        there = host.get_fact(LockedPackages, patterns=patterns_of(locked))
        file = locks.path_of(host.data.dict(), host.name)
        if file is None:
            return True
        before = locks.read(file)
        if _moved(before.sets.get(locked.name), there, locked):
            locks.write(file.with_suffix(".previous.json"), before)
        locks.write(file, Lock({**before.sets, locked.name: _versions(there, locked)}))
    except GpuwrightError as error:
        return failed(state, host, error.refusals)
    return True
