"""Hosts of a run: each is probed and planned once, and one that is refused fails alone.

An exception in deploy.py would end the run for all hosts, so a refusal only marks its own host as failed.
Refusals are printed again when the run ends, where people look.
"""

from __future__ import annotations

import atexit
from importlib.resources import files
from weakref import WeakKeyDictionary

from pyinfra import logger
from pyinfra.api import FactBase, Host
from pyinfra.api.command import StringCommand
from pyinfra.context import ctx_host
from typing_extensions import override

from gpuwright import catalog
from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.facts import HostFacts, parse
from gpuwright.operations.shell import script
from gpuwright.plan import HostPlan, plan_host
from gpuwright.settings import read_settings
from gpuwright.timings import measure

_plans: WeakKeyDictionary[Host, HostPlan] = WeakKeyDictionary()
_refused: dict[str, tuple[Refusal, ...]] = {}


class Probe(FactBase[str]):
    """The probe's text, in one round trip."""

    @override
    def command(self) -> StringCommand:
        return script((files("gpuwright.facts") / "probe.sh").read_text(encoding="utf-8"), "")

    @override
    @staticmethod
    def default() -> str:
        return ""

    @override
    def process(self, output: list[str]) -> str:
        return "\n".join(output)


def admitted() -> bool:
    """Probe and plan the host in context; False for one that is refused or could not be read."""
    host = ctx_host.get()
    measure(host.state)
    try:
        _plans[host] = _plan(host)
    except GpuwrightError as error:
        _refuse(host, error.refusals)
        return False
    return True


def planned() -> HostPlan:
    """The plan of the host in context, which was admitted."""
    return _plans[ctx_host.get()]


def _plan(host: Host) -> HostPlan:
    settings = read_settings(host.data.dict())
    facts: HostFacts = parse(host.get_fact(Probe))
    plan = plan_host(facts, settings, catalog.load())
    if isinstance(plan, HostPlan):
        return plan
    raise GpuwrightError(*plan)


def _refuse(host: Host, refusals: tuple[Refusal, ...]) -> None:
    if not _refused:
        atexit.register(_print_refused)
    _refused[host.name] = refusals
    for refusal in refusals:
        host.log_styled(f"Refused: {refusal}", fg="red", log_func=logger.error)
    if host in host.state.active_hosts:
        host.state.fail_hosts({host})


def _print_refused() -> None:
    logger.error("--> Refused hosts, nothing was changed on them:")
    for name, refusals in sorted(_refused.items()):
        for refusal in refusals:
            logger.error(f"    [{name}] {refusal}")
