"""Predicted against published: memory, fit and tokens per second of models on cards, from bench/size/published.toml.

    python -m bench.size             # every row, then the errors of the even rows
    python -m bench.size fit         # what suits the odd rows best; plan/sizing/constants.py has it
    python -m bench.size --json FILE

Rows are numbered within their kind, in the file's order; constants are fitted to odd ones only, errors are those of
the even ones. Rows of engines that no service of ours runs are compared where the figure does not depend on the
engine; `_EXCEPTIONS` says which rows are left out of the errors, and why: they are shown all the same.
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gpuwright.catalog import load
from gpuwright.catalog.gpus import GpuRow
from gpuwright.plan.sizing import ENGINES, Request, cache, constants, quantisation
from gpuwright.plan.sizing.constants import Pace
from gpuwright.plan.sizing.model import ModelFacts, matrices
from gpuwright.plan.sizing.result import Layout
from gpuwright.plan.sizing.speed import Step, memory_of, step_of, step_seconds

ROWS = Path(__file__).parent / "size" / "published.toml"
# Engines whose figure is the same as that of one of ours: the files are, and the buffers where the cache is.
_ENGINES = {
    **{"llama_cpp": "llama_cpp", "vllm": "vllm", "file": "llama_cpp", "other:ik_llama.cpp": "llama_cpp"},
    **{"other:transformers": "vllm"},
}
_EXCEPTIONS = {
    "w-dsv2lite-awq-vllm-13109": "with the matrices that vLLM made for MLA then, which it does not keep any more",
    "kv-dsv2lite-nomla-ik230": "without MLA in the cache, which llama.cpp has now",
    "kv-r1-nomla-ollama8447": "without MLA in the cache, which llama.cpp has now",
    "kv-dsv2lite-mla-vllm-13109": "576 values padded to 640, in the version of that pull request",
    "kv-gemma3-27b-noswa-ik334": "ik_llama.cpp keeps the whole context in layers with a window",
    "kv-gemma3-27b-noswa-128k-ik539": "ik_llama.cpp keeps the whole context in layers with a window",
    "t-gemma3-27b-a6000-ik334": "ik_llama.cpp keeps the whole context in layers with a window",
    "kv-l31-8b-iq4nl-f16-ik103": "keys and values in two types",
    "t-qwen25-7b-awq-a100-30k": "with transformers' own workspace for a prompt of 30,720 tokens",
    "f-r1-q2k-15x3090-ik235": "ik_llama.cpp's own buffers for MLA",
    "f-r1-307g-16x3090-ik260": "ik_llama.cpp's own buffers for MLA",
}
# How the sources call a card, where the catalogue's name does not end like that.
_CARDS = {
    **{
        "H100 80GB": "H100 SXM",
        "H100": "H100 SXM",
        "A100 80GB": "A100 SXM4 80GB",
        "A100 80GB PCIe": "A100 PCIe 80GB",
    },
    **{
        "H20 96GB": "H20",
        "NVIDIA A2 16GB": "A2 / A16",
        "A10G 24GB": "A10G",
        "L40 48GB": "L40",
        "H800 80GB": "H800 SXM",
    },
    **{"RTX 5000 Ada 32GB": "RTX 5000 Ada Generation", "RTX 4000 Ada 20GB": "RTX 4000 Ada Generation"},
    **{"RTX PRO 6000 Blackwell Workstation": "RTX PRO 6000 Blackwell Workstation Edition"},
    **{
        "RTX 4080 16GB": "GeForce RTX 4080",
        "RTX 2080 8GB": "GeForce RTX 2080",
        "RTX 4060 8GB": "GeForce RTX 4060",
    },
}
_DECODE_DEPTH = 512
app = typer.Typer(add_completion=False, rich_markup_mode=None, help=__doc__)


@dataclass(frozen=True)
class Compared:
    """A row with what it says and what we say; `words` for kinds that are no figure."""

    number: int
    row: dict[str, object]
    published: float
    predicted: float
    words: str = ""

    @property
    def id(self) -> str:
        return str(self.row["id"])

    @property
    def kind(self) -> str:
        return str(self.row["kind"])

    @property
    def left_out(self) -> str:
        return _EXCEPTIONS.get(self.id, "")

    @property
    def error(self) -> float:
        """Relative: 0.1 is ten per cent too much."""
        return self.predicted / self.published - 1


@app.callback(invoke_without_command=True)
def show(
    context: typer.Context,
    as_json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all rows there.")
    ] = None,
) -> None:
    """Every row that can be compared, and the errors of the even rows."""
    if context.invoked_subcommand:
        return
    rows = list(compared())
    console = Console(width=150)
    table = Table("row", "", "card", "published", "predicted", "error", "left out, because")
    for each in rows:
        table.add_row(
            each.id, "even" if each.number % 2 == 0 else "odd", str(each.row.get("gpus", "")), *_cells(each)
        )
    console.print(table)
    for line in summary(rows):
        console.print(line)
    if as_json:
        as_json.write_text(
            json.dumps(
                [{**each.row, "predicted": each.predicted, "words": each.words} for each in rows], indent=1
            )
        )


@app.command()
def fit() -> None:
    """The pace that suits the odd decode rows best, for each engine and kind of memory."""
    for engine, paces in constants.PACES.items():
        for memory in paces:
            steps = list(_odd_steps(engine, memory))
            best = min(_grid(), key=lambda pace: _misfit(steps, pace))
            typer.echo(
                f"{engine}, {memory}: {len(steps)} rows, share {best.share:.2f}, a layer {best.layer_s * 1e6:.0f} us, "
                f"its experts {best.experts_s * 1e6:.0f} us, mean error {_misfit(steps, best):.2f} (of the logarithm)"
            )


def compared() -> Iterator[Compared]:
    """All rows whose model, format, engine and card are known here."""
    counted: Counter[str] = Counter()
    for row in tomllib.loads(ROWS.read_text())["row"]:
        counted[row["kind"]] += 1
        request = request_of(row)
        if request is None or _elsewhere(row):
            continue
        found = _COMPARE[row["kind"]](row, request)
        if found is not None:
            yield Compared(counted[row["kind"]], row, *found)


def request_of(row: dict[str, object]) -> Request | None:
    """What the row is about, in our words; None where something in it is not known here."""
    engine = _ENGINES.get(str(row["engine"]))
    model = _models().get(str(row["model"]))
    gpus = _gpus(str(row.get("gpus", "1x A100 80GB")))
    if engine is None or model is None or gpus is None:
        return None
    kv = str(row.get("kv_type", "f16"))
    format_ = str(row.get("quantisation", "fp16"))
    if format_ not in ENGINES[engine].FORMATS or kv not in cache.BYTES:
        return None
    return Request(
        model=model,
        engine=engine,
        quantisation=format_,
        gpus=gpus,
        context=int(str(row.get("context", 2048))),
        users=int(str(row.get("users", 1))),
        kv_type=kv,
        utilisation=float(str(row.get("gpu_memory_utilization", 0.9))),
        batch=_batch(row, model),
    )


def _batch(row: dict[str, object], model: ModelFacts) -> int:
    """Before chunked prefill was vLLM's default its profile run had all of a request's tokens; 0 for now's."""
    if str(row.get("when", "")) >= "2025-02":
        return 0
    return max(2048, int(str(row.get("context", model.context))))


def summary(rows: list[Compared]) -> Iterator[str]:
    """Errors of the even rows by kind, and what the verdicts are worth."""
    counting = [each for each in rows if not each.left_out]
    for kind in ("weights", "kv", "total", "decode"):
        even = [abs(each.error) for each in counting if each.kind == kind and each.number % 2 == 0]
        if even:
            middle, most = statistics.median(even), max(even)
            yield f"{kind}: {len(even)} even rows, error {middle:.1%} in the middle, {most:.1%} at most"
    fits = [each for each in counting if each.kind == "fit"]
    meant = {"PASS": True, "NO": False}
    wrong = [each.id for each in fits if meant.get(each.words, each.row["fits"]) != each.row["fits"]]
    tight = sum(each.words == "TIGHT" for each in fits)
    right = len(fits) - len(wrong)
    named = ", ".join(wrong) or "none"
    yield f"fit: {len(fits)} rows, {right} right, {tight} of them TIGHT; wrong: {named}"
    yield f"{len(rows)} rows compared, {sum(bool(each.left_out) for each in rows)} of them left out of the errors"


def _elsewhere(row: dict[str, object]) -> bool:
    """Whether the figure is another engine's own: its buffers, its speed."""
    theirs = str(row["engine"]).startswith("other:")
    return theirs and row["kind"] in ("decode", "fit")


def _weights(row: dict[str, object], request: Request) -> tuple[float, float, str] | None:
    tensor = int(str(row.get("tensor_parallel", 1))) if row.get("per_gpu") else 1
    if request.engine == "vllm":
        layout = _layout_of({**row, "tensor_parallel": tensor}, request)
        predicted = layout.needs[0].weights if layout else 0.0
    else:
        predicted = sum(
            quantisation.size(request.quantisation, matrix, request.model, gguf=True)
            for matrix in matrices(request.model)
        )
    return float(str(row["weights_gib"])), predicted / constants.GIB, ""


def _kv(row: dict[str, object], request: Request) -> tuple[float, float, str]:
    tensor = int(str(row.get("tensor_parallel", 1))) if row.get("per_gpu") else 1
    per_token = cache.of_layer(request.model, request.kv_type, tensor)
    held = sum(
        cache.cells(request.model, layer, request.context, request.users, 2 * constants.UBATCH)
        for layer in range(request.model.layers)
    )
    return float(str(row["kv_gib"])), held * per_token / constants.GIB, ""


def _total(row: dict[str, object], request: Request) -> tuple[float, float, str] | None:
    """Where the source has vLLM's budget: all but the cache, which takes what is left of it."""
    if "total_gib" not in row:
        return None
    layout = _layout_of(row, request)
    if layout is None:
        return None
    total = float(str(row["total_gib"]))
    weights, kv = (sum(getattr(need, part) for need in layout.needs) for part in ("weights", "cache"))
    workspace = sum(need.workspace for need in layout.needs)
    if row["engine"] == "vllm":
        need = layout.needs[0]
        rest = need.weights + need.workspace + need.runtime
        return total - float(str(row["kv_gib"])), rest / constants.GIB, ""
    if row["engine"] == "other:transformers":
        return total, (weights + kv) / constants.GIB, ""
    return total, (weights + kv + workspace) / constants.GIB, ""


def _fit(row: dict[str, object], request: Request) -> tuple[float, float, str] | None:
    layout = _layout_of(row, request)
    if layout is None:
        return None
    worst = min(layout.needs, key=lambda need: need.free)
    return worst.memory / constants.GIB, worst.total / constants.GIB, layout.verdict


def _decode(row: dict[str, object], request: Request) -> tuple[float, float, str] | None:
    layout = _layout_of(row, request)
    seconds = step_seconds(request, layout, _DECODE_DEPTH) if layout else None
    return (float(str(row["tokens_s"])), 1 / seconds, layout.label) if seconds and layout else None


_COMPARE = {"weights": _weights, "kv": _kv, "total": _total, "fit": _fit, "decode": _decode}


def _layout_of(row: dict[str, object], request: Request) -> Layout | None:
    """The layout that the row had: its tensor parallelism, and no experts in RAM."""
    tensor = int(str(row.get("tensor_parallel", 0)))
    if row["engine"] == "other:transformers":
        request = replace(request, gpus=request.gpus[:1])
    elif tensor and row["kind"] == "weights":
        request = replace(request, gpus=request.gpus[:1] * tensor)
    found = [each for each in ENGINES[request.engine].layouts(request) if not each.host_layers]
    if request.engine == "vllm" and tensor:
        found = [each for each in found if each.tensor == tensor]
    elif request.engine == "vllm":
        found = found[-1:]
    return found[0] if found else None


def _odd_steps(engine: str, memory: str) -> Iterator[tuple[float, Step]]:
    """Published tokens per second, and what their step is made of."""
    for each in compared():
        request = request_of(each.row)
        if each.kind != "decode" or each.number % 2 == 0 or each.left_out or not request:
            continue
        layout = _layout_of(each.row, request)
        step = step_of(request, layout, _DECODE_DEPTH) if layout else None
        if (request.engine, memory_of(request)) == (engine, memory) and step:
            yield each.published, step


def _grid() -> Iterator[Pace]:
    shares = [share / 100 for share in range(30, 100, 2)]
    microseconds = (0, 5, 10, 15, 20, 25, 30, 40, 50, 60, 75, 90, 110, 130, 160, 200)
    for share, layer, experts in itertools.product(shares, microseconds, microseconds):
        yield Pace(share, layer * 1e-6, experts * 1e-6)


def _misfit(steps: list[tuple[float, Step]], pace: Pace) -> float:
    return statistics.mean(abs(math.log(step.seconds(pace) * published)) for published, step in steps)


def _models() -> dict[str, ModelFacts]:
    return {name: ModelFacts.of(row) for row in load().architectures for name in (row.name, *row.aliases)}


def _gpus(text: str) -> tuple[GpuRow, ...] | None:
    count, _, name = text.partition("x ")
    wanted = _CARDS.get(name, name)
    row = next(
        (row for row in load().gpus.rows if row.name in (wanted, f"GeForce {wanted}", f"Radeon {wanted}")),
        None,
    )
    return (row,) * int(count) if row else None


def _cells(each: Compared) -> tuple[str, ...]:
    if each.kind == "fit":
        said = "fits" if each.row["fits"] else "does not fit"
        return said, f"{each.words}: {each.predicted:.1f} of {each.published:.1f} GiB", "", each.left_out
    return f"{each.published:.2f}", f"{each.predicted:.2f}", f"{each.error:+.1%}", each.left_out


if __name__ == "__main__":
    app()
