"""Role inference: model servers in containers, each behind a systemd unit on loopback."""

from pyinfra.api import deploy

from gpuwright.fleet import planned
from gpuwright.operations import accounts, files, images, ports, units
from gpuwright.settings import InferenceSettings as Settings

__all__ = ["Settings", "inference"]


@deploy("Inference")
def inference() -> None:
    """Run every declared model behind a unit that restarts only when it must."""
    plan = planned().inference
    ports.free(name="Ports", services=plan.services)
    images.present(name="Images", images=plan.images)
    accounts.users(name="Account", users=plan.users)
    accounts.env_files(name="Keys and ids", files=plan.env_files)
    files.rendered(name="Units", files=plan.files)
    units.only(name="Services no longer declared", keep=plan.units)
    units.running(name="Services", units=plan.units)
