"""One host, in this process: connect, let deploy.py declare its operations, and see what each would do.

pyinfra's API has one state for a process, so a process judges one host and ends. Each operation's generator runs
once, in order, and nothing that it yields is executed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

from pyinfra.api.deploy import add_deploy
from pyinfra.api.host import Host
from pyinfra.api.state import StateStage
from pyinfra.context import ctx_host, ctx_state

from gpuwright.drift.judge import judge, sentence
from gpuwright.drift.log import Log
from gpuwright.drift.mask import masked, secrets_of
from gpuwright.drift.model import HostDrift
from gpuwright.errors import GpuwrightError
from gpuwright.inventory import HostEntry
from gpuwright.paths import ROOT, checkout_first
from gpuwright.pyinfra_lookups import remember
from gpuwright.session import opened
from gpuwright.unattended import never_prompt_without_a_terminal


def plan_run(entry: HostEntry, watch: Callable[[Host], None] = lambda host: None) -> HostDrift:
    """What a run would change on `entry`'s host; whatever goes wrong becomes a reason, in one sentence each.

    `watch` is called with the host when it is connected and was not yet asked anything.
    """
    never_prompt_without_a_terminal()
    remember()
    logs = Log()
    try:
        # Without pyinfra's own check for changes: it would stop at an operation's first command, and read facts twice.
        with opened(entry, diff=True, check_for_changes=False) as host:
            host.state.set_stage(StateStage.Prepare)
            watch(host)
            with ctx_state.use(host.state), ctx_host.use(host):
                declare(host)
                operations, reasons = judge(host, logs)
            drift = HostDrift(entry.name, reasons, operations)
    except GpuwrightError as error:
        drift = HostDrift(entry.name, tuple(str(refusal) for refusal in error.refusals))
    except Exception as error:  # deploy.py and the roles are code that people change
        drift = HostDrift(entry.name, (sentence(error, logs),))
    return masked(drift, secrets_of(entry.data))


def declare(host: Host) -> None:
    """Let deploy.py of this checkout add its operations. Raises GpuwrightError when the host is refused."""
    if not (ROOT / "deploy.py").is_file():
        raise GpuwrightError.of(
            f"checkout {ROOT}",
            "it has no deploy.py",
            "a checkout of gpuwright",
            "Run from one: git clone it.",
        )
    checkout_first()
    add_deploy(host.state, importlib.import_module("deploy").converge)
