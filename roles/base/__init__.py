"""Role base: packages, clock, locked memory."""

from pyinfra.api import deploy

from gpuwright.fleet import planned
from gpuwright.operations import files, network, packages, units
from gpuwright.settings import BaseSettings as Settings

__all__ = ["Settings", "base"]


@deploy("Base")
def base() -> None:
    """Install what later roles call; set the clock and the locked-memory limit."""
    plan = planned().base
    files.rendered(name="Proxy", files=plan.proxy_files)
    files.absent(name="Settings no longer declared", paths=plan.dropped_files)
    network.apt_sources(name="Archive sources", sources=plan.apt_sources)
    packages.present(name="Packages", packages=plan.packages, lock_timeout_s=plan.apt_lock_timeout_s)
    network.trusted(name="Private authorities", certificates=plan.certificates)
    files.rendered(name="Limits", files=plan.files)
    units.manager(name="Limits in the service manager", properties=plan.manager)
    units.running(name="Time synchronisation", units=plan.units)
