"""Steps of container.py: the gate and the out-of-memory ladder, with a real GPU that is full."""

from __future__ import annotations

import os
from dataclasses import replace

from bench.device.report import Step
from bench.device.run import ONE, Run
from bench.device.served import ended, scripts, served

# 256 GiB of cache for the 8B shape: more than any card has.
_TOO_MUCH = ("-c", "2097152")


def gate(run: Run, step: Step) -> bool:
    """A service runs; the gate of another one that wants all of the card names it, and opens when it is gone."""
    path = run.made(ONE, step)
    what = run.service("device-one", 1, ONE)
    card = run.cards[0]
    everything = f"{card.address}={int((run.total() - 4 * 1024) * 1024**2)}"
    other = replace(
        what,
        environment={**what.environment, "GPUWRIGHT_GPU_NEEDS": everything, "GPUWRIGHT_GATE_WAIT_S": "2"},
    )
    step.say(f"{path.name} on {card.address}")
    with served(run.daemon, what, run.out / "device-gate.log", run.build) as service:
        step.say(service.ready())
        try:
            shut = scripts(run.daemon, other, "ExecStartPre", run.build, os.getpid())
        except RuntimeError as error:
            shut = str(error)
    step.say(shut)
    opened = scripts(run.daemon, other, "ExecStartPre", run.build, os.getpid())
    step.say(opened)
    step.data |= {"shut": shut, "opened": opened}
    return "MiB free, planned are" in shut and "llama-server (pid" in shut


def ladder(run: Run, step: Step) -> bool:
    """A start that asks for more than the card has ends out of memory; the next one, a rung lower, answers."""
    run.made(ONE, step)
    log = run.out / "device-ladder.log"
    hungry = run.service("device-ladder", 1, ONE, _TOO_MUCH, ("context",))
    with served(run.daemon, hungry, log, run.build) as service:
        end = service.died(60)
    said = [line for line in end if "memory" in line or "allocate" in line]
    step.say(said[0] if said else "; ".join(end[-3:]))
    rung = ended(run.daemon, hungry, run.build, log)
    step.say(f"next start with {rung}")
    lower = run.service("device-ladder", 1, ONE, _TOO_MUCH, ("context",), rung)
    with served(run.daemon, lower, run.out / "device-ladder-2.log", run.build) as service:
        step.say(service.ready())
    step.data |= {"said": said[:1], "rung": rung, "words": list(lower.words[-2:])}
    return rung.get("GPUWRIGHT_RUNG_NUMBER") == "1" and lower.words[-2] == "-c"
