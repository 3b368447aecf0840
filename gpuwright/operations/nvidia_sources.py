"""Where NVIDIA's driver comes from: its repository, a mirror of it, or a file of the control machine."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand

from gpuwright.operations import local_repository, mirrors, repositories
from gpuwright.operations.files import FileStates
from gpuwright.operations.shell import script, show
from gpuwright.plan.model import AptRepository
from gpuwright.plan.nvidia.local import LocalRepository
from gpuwright.plan.nvidia.mirror import MirroredRepository

# What an earlier declaration brought, and a host with a file may not be able to reach.
NETWORK = "/etc/apt/sources.list.d/gpuwright-nvidia-cuda.sources"


@operation()
def present(places: tuple[AptRepository, ...], lock_timeout_s: int) -> Generator[PyinfraCommand]:
    """
    Have NVIDIA's packages where apt finds them, and in one of its places only.

    + places: repositories, mirrors, or a file that holds one; none is a no-op that reads nothing
    + lock_timeout_s: how long another run of apt is waited for
    """
    yield from mirrors.taken(tuple(each for each in places if isinstance(each, MirroredRepository)))
    online = tuple(each for each in places if not isinstance(each, LocalRepository))
    yield from repositories.present._inner(repositories=online)
    for place in places:
        if isinstance(place, LocalRepository):
            yield from local_repository.unpacked(place, lock_timeout_s)
            if NETWORK in host.get_fact(FileStates, paths=(NETWORK,)):
                show(f"{NETWORK}: the driver is in a file -> removed")
                yield script('rm -f "$1"', NETWORK)
