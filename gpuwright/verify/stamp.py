"""Checks of the stamp: does the last finished deploy belong to today's declaration?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from gpuwright.errors import GpuwrightError
from gpuwright.plan import HostPlan
from gpuwright.plan.model import Service
from gpuwright.stamp import PATH, Stamp, StampedService, parse
from gpuwright.verify.check import DEPLOY, UNREAD, Finding, check, compare, unknown
from gpuwright.verify.parts import planned
from gpuwright.verify.readings import ABSENT, Readings


@check("stamp.plan", severity="critical", source=PATH)
def plan_digest(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Was the plan that the declaration gives today the one that was applied last?"""
    expected = plan.digest[:12]
    if readings.texts is None or PATH not in readings.texts:
        yield unknown(PATH, UNREAD, expected)
        return
    stamp = _stamp(readings.texts[PATH])
    if stamp is None:
        observed = ABSENT if readings.texts[PATH] is None else "damaged"
        yield compare(PATH, observed, expected, "No deploy has finished here.", "Run the deploy.")
        return
    digest = stamp.plan_digest
    observed = (digest or "none")[:12]
    meaning = "The declaration changed since the last run, or gpuwright did."
    action = "See what it would do (--dry --diff), then deploy."
    yield compare(PATH, observed, expected, meaning, action, good=digest == plan.digest)


@check("stamp.services", severity="major", source=PATH)
def services(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Does the stamp describe the services as planned? `ask` and `status` go by it."""
    expected = ", ".join(service.name for service in planned(plan, Service)) or "none"
    if readings.texts is None or PATH not in readings.texts:
        yield unknown(PATH, UNREAD, expected)
        return
    stamp = _stamp(readings.texts[PATH])
    wanted = {service.name: _values(service) for service in planned(plan, Service)}
    found = {} if stamp is None else {service.name: _values(service) for service in stamp.services}
    wrong = [f"{name} differs" for name in wanted if name in found and found[name] != wanted[name]]
    wrong += [f"{name} is missing" for name in wanted if name not in found]
    wrong += [f"{name} is not declared" for name in found if name not in wanted]
    meaning = "`gpuwright ask` and `status` look for the wrong services."
    yield compare(
        PATH, ", ".join(wrong) or expected, expected, meaning, DEPLOY, good=stamp is not None and not wrong
    )


def _stamp(text: str | None) -> Stamp | None:
    try:
        return None if text is None else parse(text, "host")
    except GpuwrightError:
        return None


def _values(service: Service | StampedService) -> dict[str, object]:
    return {field.name: getattr(service, field.name) for field in fields(StampedService)}
