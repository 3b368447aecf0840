"""Role kernel: the kernel that the GPUs need, its command line, and a boot that comes back by itself."""

from pyinfra.api import deploy

from gpuwright.fleet import planned
from gpuwright.operations import archive, boot, files, kernel_repository, locked
from gpuwright.settings import KernelSettings as Settings

__all__ = ["Settings", "kernel"]


@deploy("Kernel")
def kernel() -> None:
    """Install and hold the planned kernel; boot it once, and keep it only where it proves itself."""
    plan, timeout_s = planned().kernel_steps, planned().base.apt_lock_timeout_s
    files.rendered(name="What unattended upgrades leave alone", files=plan.files)
    archive.reaching(name="Archive", reaches=plan.reach)
    kernel_repository.present(name="Built kernels", repositories=plan.repositories, lock_timeout_s=timeout_s)
    locked.present(name="Packages", sets=plan.locked, lock_timeout_s=timeout_s)
    locked.held(name="Holds", sets=plan.locked)
    locked.recorded(name="Lock", sets=plan.locked)
    boot.arguments(name="Command line", boots=plan.boots)
    boot.into(name="Boot", boots=plan.boots)
