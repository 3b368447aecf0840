"""Role gpu_runtime: what containers need to get GPUs: toolkits and their CDI specifications, or plain device nodes."""

from pyinfra.api import deploy

from gpuwright.fleet import planned
from gpuwright.operations import cdi, device_nodes, files, locked, repositories, units
from gpuwright.settings import GpuRuntimeSettings as Settings

__all__ = ["Settings", "gpu_runtime"]


@deploy("GPU runtime")
def gpu_runtime() -> None:
    """Install and hold the toolkits, and have what they generate true of the driver that runs."""
    plan, timeout_s = planned().gpu_runtime, planned().base.apt_lock_timeout_s
    repositories.present(name="Repositories", repositories=plan.repositories)
    locked.present(name="Packages", sets=plan.locked, lock_timeout_s=timeout_s)
    locked.held(name="Holds", sets=plan.locked)
    locked.recorded(name="Lock", sets=plan.locked)
    files.rendered(name="Refresh at boot", files=plan.files)
    cdi.fresh(name="CDI specifications", specs=plan.specs)
    cdi.alone(name="Stale copies", specs=plan.specs)
    units.running(name="Refresh on changes", units=plan.units)
    device_nodes.checked(name="Device nodes", nodes=plan.nodes)
