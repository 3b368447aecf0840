"""Role interconnect: NCCL's and RCCL's variables for the whole host."""

from pyinfra.api import deploy

from gpuwright.fleet import planned
from gpuwright.operations import collectives, files, ownership
from gpuwright.settings import InterconnectSettings as Settings

__all__ = ["Settings", "interconnect"]


@deploy("Interconnect")
def interconnect() -> None:
    """Tell the libraries of collectives what this host's network and links allow."""
    plan = planned().collectives
    collectives.adopted(name="What others set", files=plan.files)
    files.rendered(name="Variables", files=plan.files)
    ownership.dropped(name="Variables no longer declared", paths=plan.dropped_files)
