"""Up, down and restart of a whole sandbox: the order of steps, without a terminal."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import docker

from gpuwright.errors import GpuwrightError
from gpuwright.sandbox import base_image, fleet, hosts, llama_image, mirrors, ssh, state
from gpuwright.sandbox.recipe import recipe
from gpuwright.sandbox.state import CONTAINER, HostRecord, State

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """One line of `list`: a host as recorded and the state of its systemd."""

    host: HostRecord
    state: str
    failed: tuple[str, ...] = ()


def up(
    client: docker.DockerClient,
    directory: Path,
    count: int,
    releases: Sequence[str],
    progress: Progress,
    image: str | None = None,
) -> list[str]:
    """Bring the sandbox to at least `count` running hosts; returns the names of those made or started.

    New hosts start from `image` where it is given, else from their release's base image.
    """
    with state.locked(directory):
        key = ssh.ensure_key(directory)
        current = recorded(directory, key, count, releases, CONTAINER)
        changed = []
        for host in current.hosts:
            if _ensure_host(client, directory, host, key, progress, image):
                changed.append(host.name)
        _write_known_hosts(client, directory, current)
        for host in current.hosts:
            ssh.wait(host, timeout_s=60)
        llama = llama_image.build(client, directory / "cache", progress)
        if current.images.get("llama_cpp") != llama:
            state.save(directory, current.with_image("llama_cpp", llama))
        return changed


def down(client: docker.DockerClient, directory: Path, images: bool) -> list[str]:
    """Remove what `up` made, found by label; returns the names of the hosts that were there."""
    with state.locked(directory):
        removed = hosts.remove_all(client, state.label(directory))
        if images:
            base_image.remove_cached(client)
            shutil.rmtree(directory / "cache", ignore_errors=True)
        shutil.rmtree(directory / "ssh", ignore_errors=True)
        state.state_file(directory).unlink(missing_ok=True)
    (directory / "sandbox.lock").unlink(missing_ok=True)
    return removed


def restart(client: docker.DockerClient, directory: Path, names: Sequence[str]) -> None:
    """Reboot hosts and return when systemd and sshd are up again."""
    current = state.load(directory)
    for host in [current.host(name) for name in names]:
        hosts.require(client, state.label(directory), host.name).restart(timeout=60)
        hosts.wait_booted(client, state.label(directory), host)
        ssh.wait(host, timeout_s=60)


def rows(client: docker.DockerClient, directory: Path) -> list[Row]:
    """Every recorded host with the state of its systemd, `gone` when its container was removed."""
    return [_row(client, state.label(directory), host) for host in state.load(directory).hosts]


def _row(client: docker.DockerClient, sandbox: str, host: HostRecord) -> Row:
    container = hosts.find(client, sandbox, host.name)
    if container is None:
        return Row(host, "gone")
    if container.status != "running":
        return Row(host, container.status)
    says = hosts.system_state(container)
    return Row(host, says, tuple(hosts.failed_units(container)) if says == "degraded" else ())


def recorded(directory: Path, key: Path, count: int, releases: Sequence[str], machine: str) -> State:
    """The state with every wanted host in it, written before any is made. Raises GpuwrightError for a mixed one."""
    current = state.load(directory)
    others = [host.name for host in current.hosts if host.machine != machine]
    if others:
        raise GpuwrightError.of(
            f"sandbox in {directory}",
            f"has hosts of another kind ({', '.join(others)}: {current.hosts[0].machine})",
            "containers only, or VMs only",
            "Run `gpuwright sandbox down` first, or name another directory in GPUWRIGHT_STATE_DIR.",
        )
    for slot in fleet.missing(count, releases, [host.name for host in current.hosts]):
        record = HostRecord(
            name=slot.name,
            address=fleet.ADDRESS,
            port=fleet.free_port({host.port for host in current.hosts}),
            user=fleet.USER,
            key=str(key),
            known_hosts=str(key.parent / "known_hosts"),
            os=slot.os,
            sudo_password=fleet.password() if slot.asks else None,
            machine=machine,
        )
        current = replace(current, hosts=(*current.hosts, record))
    state.save(directory, current)
    return current


def _ensure_host(
    client: docker.DockerClient,
    directory: Path,
    host: HostRecord,
    key: Path,
    progress: Progress,
    image: str | None,
) -> bool:
    """Build the image for a host that does not exist yet, then start it; returns whether anything was done."""
    public = key.with_suffix(".pub").read_text()
    if image is not None:
        progress(f"starting {host.name} (from {image})")
        return hosts.ensure(client, state.label(directory), host, image, public)
    wanted = recipe(host.os, mirrors.from_machine(), mirrors.apt_options())
    exists = hosts.find(client, state.label(directory), host.name) is not None
    if not exists and not base_image.exists(client, wanted):
        progress(f"building a {host.os} base image from packages (once, about a minute)")
        base_image.ensure(client, wanted, directory / "cache")
    progress(f"starting {host.name} ({host.os})")
    return hosts.ensure(client, state.label(directory), host, wanted.tag, public)


def _write_known_hosts(client: docker.DockerClient, directory: Path, current: State) -> None:
    """Record each host's own keys, so that host key checking can stay on."""
    lines: list[str] = []
    for host in current.hosts:
        lines += hosts.host_keys(hosts.require(client, state.label(directory), host.name), host)
    state.write_private(Path(current.hosts[0].known_hosts), "\n".join(lines) + "\n")
