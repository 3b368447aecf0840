"""The maintenance gate: services are stopped for a change only where somebody said that they may be."""

from __future__ import annotations

from pyinfra.api.host import Host

from gpuwright.errors import Refusal
from gpuwright.operations.root_shell import Shell

# `pyinfra ... --data maintenance=true`, or `ansible-playbook ... -e maintenance=true`.
DATUM = "maintenance"
_SERVICES = """
systemctl list-units --no-legend --plain --state=active,activating --type=service 'gpuwright-*' | awk '{ print $1 }'
"""


def allowed(host: Host) -> bool:
    """Whether this run may stop declared services and reboot."""
    return str(host.data.get(DATUM) or "").strip().lower() in ("1", "true", "yes", "on")


def services(shell: Shell) -> tuple[str, ...]:
    """Units of declared services that run."""
    return tuple(line.strip() for line in shell.run(_SERVICES).lines if line.strip())


def pending(step: str, running: tuple[str, ...]) -> Refusal:
    """A step that waits for a maintenance window."""
    return Refusal(
        f"pending: {step}",
        f"{', '.join(running)} run on the host",
        "a host on which no declared service runs, or a run that may stop them",
        "Run again with --data maintenance=true (Ansible: -e maintenance=true); nothing was changed.",
    )


def stop(shell: Shell, units: tuple[str, ...]) -> bool:
    """Stop units in their order; later roles of the run start them again."""
    return not units or shell.run('systemctl stop "$@"', *units).ok
