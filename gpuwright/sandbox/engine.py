"""The control machine's Docker engine, or one clear refusal."""

from __future__ import annotations

import docker
from docker.errors import DockerException

from gpuwright.errors import GpuwrightError


def connect(timeout_s: int = 300) -> docker.DockerClient:
    """A client of the engine that DOCKER_HOST (or the default socket) names; GpuwrightError when silent.

    The timeout is long because importing an image is one request, and disks are slow.
    """
    try:
        client = docker.from_env(timeout=timeout_s)
        client.ping()
    except DockerException as error:
        raise GpuwrightError.of(
            "Docker engine on this machine",
            f"does not answer ({error})",
            "a running Docker engine that this user may use",
            "Start it (systemctl start docker), or let this user reach its socket"
            " (usermod -aG docker USER, then log in again).",
        ) from error
    return client


def cgroup_version(client: docker.DockerClient) -> str:
    """Which cgroup hierarchy the engine uses, "1" or "2": a container's systemd needs a different mount."""
    return str(client.info().get("CgroupVersion", "1"))
