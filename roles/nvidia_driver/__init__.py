"""Role nvidia_driver: NVIDIA's kernel module and user space, locked together."""

from pyinfra.api import deploy

from gpuwright.fleet import planned
from gpuwright.operations import (
    archive,
    files,
    kernel_modules,
    locked,
    machine_owner_key,
    nvidia_sources,
    units,
)
from gpuwright.settings import NvidiaDriverSettings as Settings

__all__ = ["Settings", "nvidia_driver"]


@deploy("NVIDIA driver")
def nvidia_driver() -> None:
    """Install, hold and load the planned driver; a change that would disturb somebody is refused."""
    plan, timeout_s = planned().nvidia_driver, planned().base.apt_lock_timeout_s
    archive.reaching(name="Archive", reaches=plan.reach)
    nvidia_sources.present(name="Repositories", places=plan.repositories, lock_timeout_s=timeout_s)
    files.rendered(name="Pins and module options", files=plan.files)
    machine_owner_key.enrolled(name="Signing key", modules=plan.modules)
    locked.present(name="Packages", sets=plan.locked, lock_timeout_s=timeout_s)
    locked.held(name="Holds", sets=plan.locked)
    locked.recorded(name="Lock", sets=plan.locked)
    kernel_modules.built(name="Modules", modules=plan.modules)
    kernel_modules.in_initramfs(name="Initramfs", modules=plan.modules)
    kernel_modules.loaded(name="Loaded", modules=plan.modules)
    units.running(name="Daemons", units=plan.units)
