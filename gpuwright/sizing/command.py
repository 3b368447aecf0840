"""`gpuwright size`: read model and machines, size each pair, print, and say how it ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from gpuwright import catalog
from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.plan.sizing import ENGINES, Request, Sizing, size
from gpuwright.plan.sizing.cost import Cost, Rates, cost
from gpuwright.plan.sizing.model import ModelFacts
from gpuwright.sizing import machines, models, view

_CONTEXT = 8192
FITS, UNKNOWN, FITS_NOT = 0, 1, 2
_ORDER = {"PASS": 0, "TIGHT": 1, "NO": 2}


@dataclass(frozen=True)
class Wish:
    """What the command line asks."""

    model: str
    on: tuple[str, ...]
    fleet: Path | None
    quantisation: str | None
    engine: str | None
    context: int | None
    users: int
    kv_type: str
    record: Path | None = None


@dataclass(frozen=True)
class Answer:
    """A machine with its sizing, None where it could not be judged, and what a million tokens costs on it."""

    machine: machines.Machine
    sizing: Sizing | None
    cost: Cost | None
    refusals: tuple[Refusal, ...]


def show_names() -> int:
    """Print the models that have a name."""
    Console().print(view.names(models.names()))
    return FITS


def show(wish: Wish, rates: Rates, as_json: bool) -> int:
    """Print the answer for each machine, the best first."""
    try:
        model = models.find(wish.model, wish.record)
    except GpuwrightError as error:
        view.show_refusals(error.refusals, Console(stderr=True))
        return UNKNOWN
    if wish.on or wish.fleet:
        answers = [_answer(wish, model, machine, rates) for machine in machines.read(wish.on, wish.fleet)]
    else:
        answers = list(_fewest(wish, model, rates))
    answers.sort(key=_rank)
    console = Console()
    if as_json:
        view.print_json(answers)
    elif len(answers) == 1:
        view.show_one(answers[0], console)
    else:
        view.show_many(model, answers, console)
    view.show_refusals([each for answer in answers for each in answer.refusals], Console(stderr=True))
    if any(answer.sizing and answer.sizing.verdict != "NO" for answer in answers):
        return FITS
    return UNKNOWN if any(answer.refusals for answer in answers) else FITS_NOT


def _fewest(wish: Wish, model: ModelFacts, rates: Rates) -> Iterator[Answer]:
    """For each kind of card the fewest that pass; where none do, the most."""
    for offer in machines.offers():
        answer = None
        for machine in offer:
            answer = _answer(wish, model, machine, rates)
            if answer.refusals or (answer.sizing and answer.sizing.verdict == "PASS"):
                break
        if answer is not None:
            yield answer


def _answer(wish: Wish, model: ModelFacts, machine: machines.Machine, rates: Rates) -> Answer:
    if machine.refusals:
        return Answer(machine, None, None, machine.refusals)
    quantisation = (wish.quantisation or model.native).lower()
    request = Request(
        model=model,
        engine=wish.engine or _engine(model, quantisation),
        quantisation=quantisation,
        gpus=machine.gpus,
        context=wish.context or min(_CONTEXT, model.context),
        users=wish.users,
        kv_type=wish.kv_type,
        host_bytes=machine.host_bytes,
    )
    sizing = size(request)
    if sizing.refusals:
        return Answer(machine, None, None, sizing.refusals)
    return Answer(machine, sizing, _cost(sizing, rates), ())


def _engine(model: ModelFacts, quantisation: str) -> str:
    """The engine that reads the format; where both do, llama.cpp for a file of its own and else vLLM."""
    return "vllm" if not model.gguf and quantisation in ENGINES["vllm"].FORMATS else "llama_cpp"


def _cost(sizing: Sizing, rates: Rates) -> Cost | None:
    """None where it does not fit, or power or speed of a card are not known."""
    gpus = sizing.request.gpus
    watts = [gpu.watts for gpu in gpus if gpu.watts]
    step = sizing.layouts[0].step_s if sizing.layouts else None
    if sizing.verdict == "NO" or step is None or len(watts) < len(gpus):
        return None
    listed = {row.gpu: row.usd for row in catalog.load().prices}
    price = rates.usd_a_card if rates.usd_a_card is not None else listed.get(gpus[0].name)
    return cost(
        sizing.request.users / step, sum(watts), len(gpus), Rates(price, rates.years, rates.usd_a_kwh)
    )


def _rank(answer: Answer) -> tuple[int, float]:
    """What fits before what does not, the fastest first; what could not be judged last."""
    if answer.sizing is None or not answer.sizing.layouts:
        return 3, 0.0
    return _ORDER[answer.sizing.verdict], answer.sizing.layouts[0].step_s or 0.0
