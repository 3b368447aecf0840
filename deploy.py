"""The fixed sequence of roles: `pyinfra inventories/lab.py deploy.py`. First look: add `--dry --diff`.

Every host runs the same operations in the same order; what does not apply to a host is empty there.
"""

import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parent)
if sys.path[0] != ROOT:
    sys.path.insert(0, ROOT)  # an installed package called `roles` must not win

from gpuwright.fleet import admitted, planned  # noqa: E402
from gpuwright.operations import run_lock, stamp  # noqa: E402
from gpuwright.pyinfra_process import must_be_prepared  # noqa: E402
from roles.base import base  # noqa: E402
from roles.container_engine import container_engine  # noqa: E402
from roles.gpu_runtime import gpu_runtime  # noqa: E402
from roles.inference import inference  # noqa: E402
from roles.interconnect import interconnect  # noqa: E402
from roles.kernel import kernel  # noqa: E402
from roles.model_store import model_store  # noqa: E402
from roles.nvidia_driver import nvidia_driver  # noqa: E402
from roles.power import power  # noqa: E402
from roles.rocm import rocm  # noqa: E402


def converge() -> None:
    """Bring the host in context to its plan. A refused host fails alone, before anything is touched."""
    if not admitted():
        return
    run_lock.held(name="Run lock")
    base()
    kernel()
    nvidia_driver()
    rocm()
    container_engine()
    gpu_runtime()
    interconnect()
    power()
    model_store()
    inference()
    stamp.applied(name="Stamp", plan=planned())


if __name__ != "deploy":  # pyinfra executes this file; an importer calls converge() itself
    must_be_prepared()
    converge()
