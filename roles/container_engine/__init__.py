"""Role container_engine: Docker and its daemon.json."""

from pyinfra.api import deploy

from gpuwright.fleet import planned
from gpuwright.operations import docker, files, network, packages, repositories, units
from gpuwright.settings import ContainerEngineSettings as Settings

__all__ = ["Settings", "container_engine"]


@deploy("Container engine")
def container_engine() -> None:
    """Install an engine where none is; restart it only when it is older than its configuration."""
    plan = planned().container_engine
    docker.alone(name="No engine of another kind")
    repositories.present(name="Repository", repositories=plan.repositories)
    packages.present(
        name="Packages", packages=plan.packages, lock_timeout_s=planned().base.apt_lock_timeout_s
    )
    docker.configured(name="daemon.json", merges=plan.daemon_json)
    files.absent(name="Registry accounts no longer declared", paths=plan.dropped_files)
    network.logins(name="Registry accounts", credentials=plan.credentials)
    docker.guarded(name="Nobody else's containers", units=plan.guarded)
    units.running(name="Engine", units=plan.units)
