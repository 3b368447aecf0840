"""Predicted against measured on a real GPU: memory and decoding of llama.cpp with files of random weights.

    python bench/device/size.py LLAMA_BENCH OUTDIR SCRATCH

Each file is written to SCRATCH, run, and removed. OUTDIR gets size.json: for each the terms that were predicted, the
memory that nvidia-smi showed at most, and llama-bench's tokens per second with 4096 tokens behind them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.device.random_gguf import write  # noqa: E402
from gpuwright import catalog  # noqa: E402
from gpuwright.catalog.gpus import GpuRow  # noqa: E402
from gpuwright.plan.sizing import Request, size  # noqa: E402
from gpuwright.plan.sizing.model import ModelFacts  # noqa: E402

RUNS = (
    *(("llama-3.1-8b", "fp16"), ("llama-3.1-8b", "q8_0"), ("llama-3.1-8b", "q4_k_m"), ("mistral-7b", "q8_0")),
    *(("qwen3-8b", "fp16"), ("qwen3-30b-a3b", "q4_k_m"), ("qwen2.5-14b", "q8_0"), ("qwen2.5-32b", "q4_k_m")),
    *(("llama-3.1-70b", "q4_k_m"),),
)
DEPTH, TOKENS = 4096, 128
GIB = 1024**3
LIMIT_S = 150


class Memory:
    """The most that nvidia-smi shows in use while the block runs, in MiB, polled ten times a second."""

    def __enter__(self) -> Memory:
        self.most = 0
        self._going = True
        self._thread = threading.Thread(target=self._poll)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._going = False
        self._thread.join()

    def _poll(self) -> None:
        while self._going:
            self.most = max(self.most, used())
            time.sleep(0.1)


def used() -> int:
    """MiB of the first GPU that are in use."""
    return int(_ask("memory.used"))


def card() -> GpuRow:
    """The catalogue's row of the first GPU. Raises RuntimeError where it has none."""
    ids = _ask("pci.device_id").removeprefix("0x").lower()  # 233510de
    row = catalog.load().gpus.row(ids[4:], ids[:4], "")
    if row is None:
        raise RuntimeError(f"the catalogue does not know {ids}")
    return row


def _ask(what: str) -> str:
    command = ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader,nounits", "--id=0"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def measure(bench: list[str], path: Path, environment: Mapping[str, str]) -> tuple[float, int]:
    """Tokens per second of generation, and MiB at most; `bench` are the words that start llama-bench."""
    words = [
        "-m",
        path,
        "-ngl",
        "99",
        "-fa",
        "1",
        "-p",
        "0",
        "-n",
        TOKENS,
        "-d",
        DEPTH,
        "-r",
        "3",
        "-o",
        "json",
    ]
    before = used()
    with Memory() as memory:
        done = subprocess.run(
            [*bench, *map(str, words)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    (row,) = [row for row in json.loads(done.stdout) if row["n_gen"]]
    return float(row["avg_ts"]), memory.most - before


def judged(
    model: ModelFacts, mixture: str, bench: list[str], path: Path, environment: Mapping[str, str]
) -> dict[str, Any]:
    """A file of the shape on the first GPU, predicted and measured; it is removed. RuntimeError: llama-bench failed."""
    gpu = card()
    try:
        size_bytes = write(path, model, mixture)
        request = Request(model, "llama_cpp", mixture, (gpu,), DEPTH + TOKENS, 1, "f16")
        (layout,) = size(request).layouts
        (need,) = layout.needs
        rate, mib = measure(bench, path, environment)
    finally:
        path.unlink(missing_ok=True)
    predicted_rate = 1 / (layout.step_s or 1)
    print(
        f"{model.name:15} {mixture:7} memory {need.total / GIB:7.2f} of {mib / 1024:7.2f} GiB "
        f"({need.total / GIB / (mib / 1024) - 1:+.1%}), {predicted_rate:6.1f} of {rate:6.1f} tokens/s "
        f"({predicted_rate / rate - 1:+.1%})",
        flush=True,
    )
    return {
        "model": model.name,
        "quantisation": mixture,
        "gpu": gpu.name,
        "file_bytes": size_bytes,
        "predicted_gib": {
            part: round(getattr(need, part) / GIB, 3)
            for part in ("weights", "cache", "workspace", "runtime", "total")
        },
        "measured_gib": round(mib / 1024, 3),
        "predicted_tokens_s": round(predicted_rate, 1),
        "measured_tokens_s": round(rate, 1),
    }


def main() -> int:
    """The exit code: 0 where every file ran."""
    bench, out, scratch = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    shapes = {row.name: row for row in catalog.load().architectures}
    results: list[dict[str, Any]] = []
    for name, mixture in RUNS:
        path = scratch / f"{name}-{mixture}.gguf"
        try:
            results.append(judged(ModelFacts.of(shapes[name]), mixture, [bench], path, os.environ))
        except (RuntimeError, subprocess.TimeoutExpired, OSError) as error:
            results.append({"model": name, "quantisation": mixture, "error": str(error)})
            print(f"{name} {mixture}: {error}", flush=True)
        (out / "size.json").write_text(json.dumps(results, indent=1) + "\n")
    return 1 if any("error" in result for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
