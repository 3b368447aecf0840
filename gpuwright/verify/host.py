"""One host: connect as a deploy would, plan again, read, judge."""

from __future__ import annotations

import time

from gpuwright import catalog
from gpuwright.connection import Connection, connect
from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.facts import HostFacts
from gpuwright.inventory import HostEntry
from gpuwright.models import manifest
from gpuwright.plan import HostPlan, plan_host
from gpuwright.plan.model import Model, Service
from gpuwright.probing import probe
from gpuwright.settings import read_settings
from gpuwright.sizing.declared import folder_of, shapes
from gpuwright.status_probe import parse_sections
from gpuwright.verify import (
    base,
    collectives,
    container,
    driver,
    gpu,
    kernel,
    model,
    power,
    runtime,
    service,
    service_gpu,
    stamp,
    unit,
)
from gpuwright.verify.answers import probe_for
from gpuwright.verify.check import CHECKS
from gpuwright.verify.parts import planned
from gpuwright.verify.readings import Readings
from gpuwright.verify.scripts import COMPLETION_S, answer_script, digests_script, state_script
from gpuwright.verify.verdict import HostReport, Verdict

STATE_S = 120
# A slow disk under load; what does not come at half of that is not worth waiting for.
HASH_BYTES_PER_S = 20_000_000

# Importing a module of checks registers them; the table shows them in this order.
AREAS = (
    base,
    unit,
    stamp,
    container,
    service,
    model,
    kernel,
    driver,
    runtime,
    gpu,
    service_gpu,
    power,
    collectives,
)


def verify(entry: HostEntry, fast: bool) -> HostReport:
    """The report on one host; every failure to judge is in it, none is raised."""
    began = time.monotonic()
    verdicts: tuple[Verdict, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    try:
        with connect(entry) as connection:
            verdicts = judge(connection, entry, fast)
    except GpuwrightError as error:
        refusals = error.refusals
    except Exception as error:  # a crash on one host must not end the others; its message may hold readings
        where = f"crashed with {type(error).__name__} at {_place(error)}"
        refusals = (
            Refusal(f"host {entry.name}", where, "a verdict", "This is a bug in gpuwright: report it."),
        )
    return HostReport(entry.name, verdicts, refusals, round(time.monotonic() - began, 2))


def judge(connection: Connection, entry: HostEntry, fast: bool) -> tuple[Verdict, ...]:
    """All verdicts on a connected host. GpuwrightError where it is refused or cannot be read at all."""
    facts, plan = replan(connection, entry)
    return verdicts_of(connection, facts, plan, fast)


def verdicts_of(connection: Connection, facts: HostFacts, plan: HostPlan, fast: bool) -> tuple[Verdict, ...]:
    """All verdicts on a connected host whose facts and plan are known. GpuwrightError where it cannot be read."""
    readings = read(connection, facts, plan, fast)
    return tuple(verdict for each in CHECKS.values() for verdict in each.judge(readings, plan))


def replan(connection: Connection, entry: HostEntry) -> tuple[HostFacts, HostPlan]:
    """What the host is now, and what it should be. GpuwrightError with the reasons of a refusal."""
    settings = read_settings(entry.data)
    facts = probe(connection)
    plan = plan_host(facts, settings, catalog.load(), shapes(settings, folder_of(entry.data, entry.source)))
    if isinstance(plan, HostPlan):
        return facts, plan
    raise GpuwrightError(*plan)


def read(connection: Connection, facts: HostFacts, plan: HostPlan, fast: bool) -> Readings:
    """Everything that the checks ask about: state, answers and, unless `fast`, the digests of all model files."""
    addresses = [device.address for device in facts.gpus]
    text = connection.run(state_script(plan, addresses), timeout=STATE_S).stdout + "\n"
    for each in planned(plan, Service):
        question = probe_for(each.model).request(each.model)
        text += _run(connection, answer_script(each, question), COMPLETION_S + 60)
    state = Readings(facts, parse_sections(text))
    if not fast:
        wanted, size = _hashes(state, plan)
        text += _run(connection, digests_script(wanted), 60 + size // HASH_BYTES_PER_S)
    return Readings(facts, parse_sections(text), hashed=not fast)


def _hashes(state: Readings, plan: HostPlan) -> tuple[list[tuple[str, str]], int]:
    """(kind of digest, path) of every file that a manifest lists, and the bytes to be read."""
    wanted: list[tuple[str, str]] = []
    for each in planned(plan, Model):
        listed = manifest.parse((state.texts or {}).get(f"{each.directory}/{manifest.NAME}"))
        for file in listed.files if listed else ():
            wanted.append((file.digest.partition(":")[0], f"{each.directory}/{file.path}"))
    there = state.model_files or {}
    return wanted, sum(there[path].size for _, path in wanted if path in there)


def _run(connection: Connection, script: str, timeout: int) -> str:
    """What a script printed. One that took too long printed nothing, and what it would have read is unknown."""
    try:
        return connection.run(script, timeout=timeout).stdout + "\n"
    except GpuwrightError:
        return ""


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "an unknown place" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
