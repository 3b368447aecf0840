"""What verify asks of a host about GPUs in containers: a part of the one script for the host's state."""

from __future__ import annotations

import shlex

from gpuwright.operations import cdi_host, device_nodes
from gpuwright.plan import HostPlan

_ENGINES = r"""
docker_cdi() { docker info --format '{{json .CDISpecDirs}}'; }
podman_version() {
    if command -v podman >/dev/null; then podman --version; else echo absent; fi
}
section docker_cdi docker_cdi
section podman_version podman_version
"""


def text(plan: HostPlan) -> str:
    """The part for this plan; "" where no container gets GPUs."""
    steps = plan.gpu_runtime
    parts: list[str] = []
    if steps.specs:
        parts += [cdi_host.SCRIPT, _ENGINES]
    for spec in steps.specs:
        parts.append(_section(f"cdi:{spec.vendor}", "cdi", spec.vendor, spec.module, spec.tool, spec.service))
    if steps.nodes:
        parts.append(device_nodes.SCRIPT)
    for each in steps.nodes:
        parts.append(_section(f"device_nodes:{each.vendor}", "device_nodes", *each.common, "--", *each.gpus))
    return "\n".join(parts)


def _section(*words: str) -> str:
    return f"section {shlex.join(words)}"
