"""Hosts of a run: each is probed and planned once, and one that is refused fails alone.

An exception in deploy.py would end the run for all hosts, so a refusal only marks its own host as failed.
Refusals are printed again when the run ends, where people look.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import pyinfra
from pyinfra import logger
from pyinfra.api import Host
from pyinfra.context import ctx_host

from gpuwright import catalog, refused
from gpuwright.access import read_as_root
from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.facts import HostFacts, parse
from gpuwright.facts.read import probe_script
from gpuwright.operations import kernel_repository, local_repository
from gpuwright.operations.shell import script
from gpuwright.plan import HostPlan, plan_host
from gpuwright.settings import read_settings
from gpuwright.sizing.declared import folder_of, shapes
from gpuwright.timings import measure

_plans: WeakKeyDictionary[Host, HostPlan] = WeakKeyDictionary()


def admitted() -> bool:
    """Probe and plan the host in context; False for one that is refused or could not be read.

    Outside pyinfra's command line, where a state has one host, that is GpuwrightError instead, and nothing is logged.
    """
    host = ctx_host.get()
    if pyinfra.is_cli:
        measure(host.state)
    try:
        _plans[host] = _plan(host)
    except GpuwrightError as error:
        if not pyinfra.is_cli:
            raise
        _refuse(host, error.refusals)
        return False
    return True


def planned() -> HostPlan:
    """The plan of the host in context, which was admitted."""
    return _plans[ctx_host.get()]


def _plan(host: Host) -> HostPlan:
    data = host.data.dict()
    settings = read_settings(data)
    known = shapes(settings, folder_of(data))
    probe = script(probe_script())
    facts = _facts("\n".join(read_as_root(host, probe)))
    plan = plan_host(facts, settings, catalog.load(), known)
    if not isinstance(plan, HostPlan):
        raise GpuwrightError(*plan)
    for repository in plan.kernel_steps.repositories:
        # What the control machine lacks is said before the host changes; the operation itself comes late.
        kernel_repository.read(repository, host.data.dict(), host.name)
    local_repository.required(plan.nvidia_driver.repositories, facts, host.data.dict(), host.name)
    return plan


def _facts(answer: str) -> HostFacts:
    """A recorded host answers the probe with facts, without the serial numbers that the probe's text has."""
    return HostFacts.from_json(answer) if answer.startswith("{") else parse(answer)


def _refuse(host: Host, refusals: tuple[Refusal, ...]) -> None:
    refused.remember(refused.REFUSED, host.name, refusals)
    for refusal in refusals:
        host.log_styled(f"Refused: {refusal}", fg="red", log_func=logger.error)
    if host in host.state.active_hosts:
        host.state.fail_hosts({host})
