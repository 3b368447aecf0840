"""Sizings for people and programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gpuwright.errors import Refusal
from gpuwright.plan.model import Json
from gpuwright.plan.sizing import Sizing, flags, most_tokens
from gpuwright.plan.sizing.constants import BANDS, GIB
from gpuwright.plan.sizing.cost import Cost
from gpuwright.plan.sizing.model import ModelFacts
from gpuwright.plan.sizing.result import Layout, Need

if TYPE_CHECKING:
    from gpuwright.sizing.command import Answer

_STYLES = {"PASS": "bold green", "TIGHT": "bold yellow", "NO": "bold red"}
_ENGINES = {"llama_cpp": "llama.cpp", "vllm": "vLLM"}


def show_one(answer: Answer, console: Console) -> None:
    """All layouts with all terms, then speed and cost of the best, and what the engine cannot do."""
    sizing = answer.sizing
    if sizing is None:
        return
    request = sizing.request
    console.print(
        Text.assemble(
            (f"{request.model.name} {request.quantisation}", "bold"),
            f" on {answer.machine.name}, {_ENGINES[request.engine]}, {_for(sizing)}: ",
            (sizing.verdict, _STYLES[sizing.verdict]),
        )
    )
    table = Table(
        "layout", "GPU", "weights", "cache", "workspace", "runtime", "needs", "of", "free", "", title="GiB"
    )
    for layout in sizing.layouts:
        for index, (need, times) in enumerate(_grouped(layout)):
            figures = (
                need.weights,
                need.cache,
                need.workspace,
                need.runtime,
                need.total,
                need.memory,
                need.free,
            )
            table.add_row(
                layout.short if index == 0 else "",
                f"{times} x {need.gpu}" if times > 1 else need.gpu,
                *(f"{figure / GIB:.1f}" for figure in figures),
                Text(need.verdict, style=_STYLES[need.verdict]),
            )
        if layout.host:
            table.add_row("", "RAM", f"{layout.host / GIB:.1f}")
    console.print(table)
    for line in _lines(answer, sizing):
        console.print(line, highlight=False, soft_wrap=True)


def show_many(model: ModelFacts, answers: Sequence[Answer], console: Console) -> None:
    """A line for each machine."""
    judged = [answer for answer in answers if answer.sizing]
    if not judged:
        return
    first = judged[0].sizing
    assert first is not None
    console.print(f"{model.name} {first.request.quantisation}, {_for(first)}", style="bold", highlight=False)
    table = Table("machine", "", "layout", "GiB a GPU", "tokens/s", "each", "$/M", "Wh/M")
    for column in table.columns[1:]:
        column.no_wrap = True
    for answer in judged:
        sizing = answer.sizing
        assert sizing is not None
        table.add_row(answer.machine.name, *_summary(sizing), *_money(answer))
    console.print(table)
    low, high = BANDS[first.request.engine]
    legend = (
        "TP tensor parallel, PP pipeline stages, RAM layers with their experts there, M a million tokens; "
        f"tokens/s: four of five measured ones are {low:.0%} to {high:.0%} of them"
    )
    console.print(legend, style="dim", highlight=False, soft_wrap=True)


def names(rows: Iterable[tuple[str, tuple[str, ...], int]]) -> Table:
    """The models that have a name."""
    table = Table("model", "also", "parameters (billions)")
    for name, others, parameters in rows:
        table.add_row(name, ", ".join(others), f"{parameters / 1e9:.1f}")
    return table


def show_refusals(refusals: Iterable[Refusal], console: Console) -> None:
    """Each once, on a line."""
    for refusal in dict.fromkeys(refusals):
        console.print(Text(str(refusal), style="red"), soft_wrap=True, highlight=False)


def print_json(answers: Sequence[Answer]) -> None:
    """Every answer with every term in bytes."""
    document: dict[str, Json] = {"schema": 1, "machines": [_document(answer) for answer in answers]}
    sys.stdout.write(json.dumps(document, sort_keys=True) + "\n")


def _document(answer: Answer) -> dict[str, Json]:
    document: dict[str, Json] = {"machine": answer.machine.name}
    if answer.refusals:
        document["refused"] = [dict(asdict(refusal)) for refusal in answer.refusals]
    if answer.sizing:
        request = answer.sizing.request
        document |= {
            "model": request.model.name,
            "quantisation": request.quantisation,
            "engine": request.engine,
            "context": request.context,
            "users": request.users,
            "verdict": answer.sizing.verdict,
            "layouts": [
                {**asdict(each), "verdict": each.verdict, "flags": list(flags(request, each))}
                for each in answer.sizing.layouts
            ],
            "invalid": [[tensor, why] for tensor, why in answer.sizing.invalid],
        }
    if answer.cost:
        document["cost_per_million_tokens"] = {**asdict(answer.cost), "total_usd": answer.cost.total_usd}
    return document


def _lines(answer: Answer, sizing: Sizing) -> Iterator[str]:
    for tensor, why in sizing.invalid:
        yield f"no tensor parallel {tensor}: {why}"
    if not sizing.layouts:
        return
    best, request = sizing.layouts[0], sizing.request
    if sizing.verdict == "NO":
        yield from _missing(sizing)
        return
    if best.host_layers and request.host_bytes is None:
        yield f"nobody knows whether the machine has the {best.host / GIB:.0f} GiB of RAM for that"
    yield f"{best.label}: {' '.join(flags(request, best))}"
    if best.step_s:
        low, high = (share / best.step_s for share in BANDS[request.engine])
        together = f" for each user, {request.users / best.step_s:.0f} in all" if request.users > 1 else ""
        behind = f"with {request.context} tokens behind the next one"
        yield f"decodes {1 / best.step_s:.1f} tokens/s{together}, {behind} (measured: {low:.1f} to {high:.1f})"
    if answer.cost:
        yield _priced(answer.cost)


def _missing(sizing: Sizing) -> Iterator[str]:
    """How much a NO lacks, and what would do."""
    request = sizing.request
    lacks = min(max(-need.free for need in layout.needs) for layout in sizing.layouts) / GIB
    yield f"{lacks:.1f} GiB too much on a GPU: fewer users or tokens, a smaller format, or more cards"
    if request.model.experts and request.engine == "llama_cpp" and request.host_bytes is not None:
        yield f"its experts do not fit in {request.host_bytes / GIB:.0f} GiB of RAM either"
    if tokens := most_tokens(sizing):
        yield f"up to {tokens} tokens for each user would just fit"


def _priced(cost: Cost) -> str:
    begin = "a million tokens, generated without a break:"
    energy = f"{cost.energy_usd:.2f} $ for {cost.watt_hours:.0f} Wh of the cards at full power"
    if cost.cards_usd is None or cost.total_usd is None:
        return f"{begin} {energy}; the cards have no price here (--price)"
    return f"{begin} {cost.total_usd:.2f} $, {cost.cards_usd:.2f} $ of cards and {energy}"


def _grouped(layout: Layout) -> list[tuple[Need, int]]:
    """Equal GPUs once, with their number."""
    counted: dict[Need, int] = {}
    for need in layout.needs:
        counted[need] = counted.get(need, 0) + 1
    return list(counted.items())


def _summary(sizing: Sizing) -> tuple[Text | str, ...]:
    if not sizing.layouts:
        return Text("NO", style=_STYLES["NO"]), "; ".join(why for _, why in sizing.invalid), "", "", ""
    best = sizing.layouts[0]
    worst = min(best.needs, key=lambda need: need.free)
    users = sizing.request.users
    speed = ("", "")
    if sizing.verdict != "NO" and best.step_s:
        speed = (f"{users / best.step_s:.0f}", f"{1 / best.step_s:.1f}")
    memory = f"{worst.total / GIB:.1f} of {worst.memory / GIB:.1f}"
    return Text(sizing.verdict, style=_STYLES[sizing.verdict]), best.short, memory, *speed


def _money(answer: Answer) -> tuple[str, str]:
    if answer.cost is None:
        return "", ""
    total = answer.cost.total_usd
    return "" if total is None else f"{total:.2f}", f"{answer.cost.watt_hours:.0f}"


def _for(sizing: Sizing) -> str:
    users = sizing.request.users
    return f"{users} user{'s' if users > 1 else ''} with {sizing.request.context} tokens{' each' if users > 1 else ''}"
