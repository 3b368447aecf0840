"""What the steps of container.py share: the machine, the engine beside it, and where files lie."""

from __future__ import annotations

import os
import re
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from bench.device.cdi import Card
from bench.device.daemon import Daemon
from bench.device.random_gguf import write
from bench.device.report import Report, Skip, Step
from bench.device.served import Asked, Rendered, rendered
from gpuwright import catalog
from gpuwright.facts import HostFacts
from gpuwright.plan.sizing.model import ModelFacts

ROOT = Path(__file__).resolve().parents[2]
SERVER, BENCH = "/usr/bin/llama-server", "/usr/bin/llama-bench"
# The model of the services, by the name of its shape and its mixture; and one that answers.
ONE, OK = ("llama-3.1-8b", "q8_0"), ("ok", "f32")
GIB = 1024**3
_PORT = 18080


class Run:
    """`facts`, `cards` and `image` are empty until their steps were taken."""

    def __init__(self, out: Path, build: Path, report: Report) -> None:
        self.out = out
        self.build = build
        self.report = report
        self.store = Path(os.environ.get("SCRATCH", "/dev/shm")) / "gpuwright-device"
        self.store.mkdir(parents=True, exist_ok=True)
        self.daemon = Daemon(build / "docker", build / "docker-state", build / "cdi")
        self.shapes = {row.name: ModelFacts.of(row) for row in catalog.load().architectures}
        self.facts: HostFacts
        self.cards: tuple[Card, ...] = ()
        self.image = ""

    def program(self, name: str) -> Path:
        """Of the build."""
        return self.build / "out" / "bin" / name

    def file(self, model: tuple[str, str]) -> Path:
        """Where the store has it, or will."""
        name = "-".join(model)
        return self.store / name / f"{name}.gguf"

    def made(self, model: tuple[str, str], step: Step) -> Path:
        """The same; written where it is not there."""
        path = self.file(model)
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            began = time.monotonic()
            new = path.with_suffix(".new")
            count = write(new, self.shapes[model[0]], model[1])
            new.rename(path)
            step.say(f"{path.name}: {count / GIB:.1f} GiB written in {time.monotonic() - began:.0f} s")
        return path

    def service(
        self,
        name: str,
        count: int,
        model: tuple[str, str],
        arguments: tuple[str, ...] = (),
        out_of_memory: tuple[str, ...] = (),
        more: dict[str, str] | None = None,
    ) -> Rendered:
        """Planned on the first `count` GPUs. Skip where there are fewer."""
        if len(self.cards) < count:
            raise Skip(f"this machine has {len(self.cards)} GPU")
        file = self.file(model)
        asked = Asked(
            name,
            self.cards[:count],
            file.parent.name,
            file,
            _PORT,
            arguments=arguments,
            out_of_memory=out_of_memory,
            context=1024 if model == OK else 16384,
        )
        shape = None if file.exists() else replace(self.shapes[model[0]], native=model[1])
        return rendered(self.facts, asked, self.image, self.store, shape, more)

    def total(self) -> int:
        """MiB of the first card."""
        command = ["nvidia-smi", f"--id={self.cards[0].uuid}", "--query-gpu=memory.total"]
        text = subprocess.run(
            [*command, "--format=csv,noheader,nounits"], capture_output=True, text=True, check=True
        ).stdout
        return int(text)

    def used(self) -> list[int]:
        """MiB in use, in the order of `cards`."""
        command = ["nvidia-smi", "--query-gpu=uuid,memory.used", "--format=csv,noheader,nounits"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        by_uuid = dict(line.split(", ") for line in text.strip().splitlines())
        return [int(by_uuid[card.uuid]) for card in self.cards]


def uuids(text: str) -> list[str]:
    """The GPUs that `nvidia-smi -L` lists."""
    return re.findall(r"UUID: (GPU-[0-9a-f-]+)", text)
