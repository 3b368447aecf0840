"""Steps of container.py: what a container costs, how to split over two GPUs, how right the sizing is."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import threading
from pathlib import Path
from typing import Any

from bench.device import size
from bench.device.report import Step
from bench.device.run import BENCH, GIB, ONE, Run
from bench.device.served import written
from bench.device.service_steps import MEMORY_ERROR
from gpuwright.plan.sizing import Request
from gpuwright.plan.sizing import size as sized

# Worth more than one card.
LARGE = ("llama-3.1-70b", "q4_k_m")
PAIRS = 4
PROMPT = 512
NEAR = 0.05


class Peak:
    """The most that each card has in use while the block runs, over what it had, in GiB."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._before = self._most = run.used()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._poll)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    @property
    def gib(self) -> list[float]:
        """In the cards' order."""
        return [round((most - was) / 1024, 3) for most, was in zip(self._most, self._before, strict=True)]

    def _poll(self) -> None:
        while not self._end.wait(0.3):
            self._most = [max(pair) for pair in zip(self._most, self._run.used(), strict=True)]


def pairs(run: Run, step: Step) -> bool:
    path = run.made(ONE, step)
    what = run.service("device-one", 1, ONE)
    words = _words(path)
    inside = [run.daemon.docker, *what.instead(BENCH)[1:]]
    outside = [str(run.program("llama-bench"))]
    only = {**os.environ, "CUDA_VISIBLE_DEVICES": run.cards[0].uuid}
    found: dict[str, dict[str, list[float]]] = {"prompt": {}, "generation": {}}
    _bench([*outside, *words], only)  # warm: clocks, and the file's first read
    with written(what):
        for number in range(PAIRS):
            both = [("outside", outside, only), ("inside", inside, run.daemon.environment)]
            for where, program, environment in reversed(both) if number % 2 else both:
                for kind, rate in _bench([*program, *words], environment).items():
                    found[kind].setdefault(where, []).append(rate)
    good = True
    for kind, rates in found.items():
        ratios = [a / b for a, b in zip(rates["inside"], rates["outside"], strict=True)]
        middle = statistics.median(ratios)
        step.data[kind] = {
            **{where: [round(rate, 2) for rate in each] for where, each in rates.items()},
            "ratios": [round(ratio, 4) for ratio in ratios],
            "median_ratio": round(middle, 4),
        }
        step.say(f"{kind}: {step.data[kind]}")
        good = good and abs(middle - 1) <= NEAR
    return good


def splits(run: Run, step: Step) -> bool:
    good = True
    for model in (ONE, LARGE):
        what = run.service("device-two", 2, model)
        path = run.made(model, step)
        for split, reduce in (("layer", ""), ("tensor", "nccl"), ("tensor", "internal")):
            env = ("NCCL_NVLS_ENABLE=0", *((f"GGML_CUDA_ALLREDUCE={reduce}",) if reduce else ()))
            name = f"{path.stem} {split} {reduce}".strip()
            try:
                with written(what), Peak(run) as peak:
                    inside = [run.daemon.docker, *what.instead(BENCH, env=env)[1:]]
                    rates = _bench([*inside, *_words(path), "-sm", split], run.daemon.environment)
                step.data[name] = {key: round(rate, 1) for key, rate in rates.items()}
                step.data[name]["measured_gib"] = peak.gib[:2]
                if split == "layer":
                    request = Request(
                        run.shapes[model[0]], "llama_cpp", model[1], (size.card(),) * 2, PROMPT, 1, "f16"
                    )
                    (layout,) = sized(request).layouts
                    step.data[name]["predicted_gib"] = [round(need.total / GIB, 3) for need in layout.needs]
                step.say(f"{name}: {step.data[name]}")
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                good = False
                step.say(f"{name}: {str(error)[-800:]}")
        if model != ONE:
            path.unlink()
    return good


def shape(run: Run, name: str, mixture: str, step: Step) -> bool:
    """In the container of the unit, whose store has the file."""
    model = (name, mixture)
    path = run.file(model)
    path.parent.mkdir(exist_ok=True)
    what = run.service("device-one", 1, model)
    with written(what):
        inside = [run.daemon.docker, *what.instead(BENCH)[1:]]
        step.data = size.judged(run.shapes[name], mixture, inside, path, run.daemon.environment)
    predicted: Any = step.data["predicted_gib"]
    error = predicted["total"] / step.data["measured_gib"] - 1
    step.data["memory_error"] = round(error, 4)
    step.data["tokens_s_error"] = round(
        step.data["predicted_tokens_s"] / step.data["measured_tokens_s"] - 1, 4
    )
    return bool(abs(error) <= MEMORY_ERROR)


def _words(path: Path) -> list[str]:
    """llama-bench's: a prompt, and what is generated after none."""
    return [
        "-m",
        str(path),
        "-ngl",
        "99",
        "-fa",
        "1",
        "-p",
        str(PROMPT),
        "-n",
        "128",
        "-r",
        "5",
        "-o",
        "json",
    ]


def _bench(words: list[str], environment: dict[str, str]) -> dict[str, float]:
    """Tokens a second, of the prompt and of generation."""
    done = subprocess.run(
        words,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr[-2000:]}")
    rows = json.loads(done.stdout)
    return {"generation" if row["n_gen"] else "prompt": float(row["avg_ts"]) for row in rows}
