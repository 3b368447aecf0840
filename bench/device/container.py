"""What container.sh asks: GPUs in containers as gpuwright's units start them, and what a container costs.

python bench/device/container.py OUTDIR BUILD SECONDS
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.device import guard_steps, service_steps, setup_steps, speed_steps
from bench.device.report import Report
from bench.device.run import Run

# Files that no constant of the sizing was fitted to (bench/size/h200.json has those).
SHAPES = (
    *(("qwen2.5-7b", "fp16"), ("qwen2.5-14b", "q4_k_m"), ("qwen3-14b", "q8_0"), ("qwen3-32b", "q4_k_m")),
    *(("qwen3-30b-a3b", "q8_0"), ("mixtral-8x7b", "q4_k_m")),
)
SERVICE = "started from its unit's argv; its GPUs and no other; a completion; memory within 8 % of the sizing"
PAIRS = "tokens a second of llama-bench in the container within 5 % of the same program outside"


def main(out: Path, build: Path, seconds: float) -> int:
    """All steps; container.sh has the exit codes."""
    head = {"command": os.environ.get("GPUWRIGHT_COMMAND", ""), "date": time.strftime("%Y-%m-%d")}
    report = Report(out / "container.json", head, build / "steps.json", time.monotonic() + seconds)
    run = Run(out, build, report)
    try:
        if _prepared(run):
            _asked(run)
    finally:
        report.write()
        run.daemon.stop()
    for step in report.steps.values():
        print(f"{step.verdict:4} {step.name}", flush=True)
    return report.code


def _prepared(run: Run) -> bool:
    """Up to an image of the build; the rest of the machine is looked at while that goes on."""
    step = partial(run.report.step, again=True)
    ready = (
        step("machine", "GPUs, and a driver", partial(setup_steps.machine, run))
        and step("docker", "an engine that reads CDI specs", partial(setup_steps.engine, run))
        and step("cdi", "a spec of the loaded driver", partial(setup_steps.spec, run))
    )
    if not ready:
        return False
    visible = "as on the host, all and one by one, for a user without rights; none without a device"
    run.report.step("gpus in a container", visible, partial(setup_steps.visible, run))
    step("models", "ok.gguf, and random weights", partial(setup_steps.models, run))
    return step(
        "build", "llama-server and llama-bench for these GPUs", partial(setup_steps.built, run)
    ) and step("image", "of the programs and their libraries", partial(setup_steps.imported, run))


def _asked(run: Run) -> None:
    step = run.report.step
    step("service of ok.gguf", 'answers "ok"', partial(service_steps.answers, run), seconds=30)
    step("service on one GPU", SERVICE, partial(service_steps.measured, run, "device-one", 1), seconds=40)
    step("gate", "names who holds a full card, and opens", partial(guard_steps.gate, run), seconds=40)
    step("ladder", "a start a rung lower answers", partial(guard_steps.ladder, run), seconds=60)
    step("inside and outside", PAIRS, partial(speed_steps.pairs, run), seconds=120)
    step("service on two GPUs", SERVICE, partial(service_steps.measured, run, "device-two", 2), seconds=50)
    step("layer and tensor split", "both run on two GPUs", partial(speed_steps.splits, run), seconds=200)
    for name, mixture in SHAPES:
        expected = "memory within 8 % of the sizing"
        step(
            f"size of {name} {mixture}", expected, partial(speed_steps.shape, run, name, mixture), seconds=60
        )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
