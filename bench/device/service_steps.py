"""Steps of container.py: services on one GPU and on two, as their units start them."""

from __future__ import annotations

from typing import Any

from bench.device import size
from bench.device.report import Step
from bench.device.run import GIB, OK, ONE, Run, uuids
from bench.device.served import QUESTION, Rendered, served
from gpuwright.plan.sizing import Request
from gpuwright.plan.sizing import size as sized

MEMORY_ERROR = 0.08


def answers(run: Run, step: Step) -> bool:
    what = run.service("device-ok", 1, OK)
    _say_argv(what, step)
    with served(run.daemon, what, run.out / "device-ok.log", run.build) as service:
        step.say(service.ready())
        answer = service.ask("/v1/chat/completions", QUESTION)
        listed = uuids(service.within("nvidia-smi", "-L"))
    text = answer["choices"][0]["message"]["content"]
    step.data |= {"completion": text, "usage": answer["usage"], "gpus": listed}
    step.say(f"completion: {text!r}; GPUs: {listed}")
    return text == "ok" and listed == [run.cards[0].uuid]


def measured(run: Run, name: str, count: int, step: Step) -> bool:
    path = run.made(ONE, step)
    what = run.service(name, count, ONE)
    cards = run.cards[:count]
    _say_argv(what, step)
    before = run.used()
    with served(run.daemon, what, run.out / f"{name}.log", run.build) as service:
        step.say(service.ready())
        listed = uuids(service.within("nvidia-smi", "-L"))
        answer = service.ask("/completion", _long(size.DEPTH, size.TOKENS))
        taken = [after - was for after, was in zip(run.used(), before, strict=True)][:count]
    request = _request(run, count, what)
    (layout,) = sized(request).layouts
    needs = [need.total / GIB for need in layout.needs]
    found = [mib / 1024 for mib in taken]
    rate = answer["timings"]["predicted_per_second"]
    step.data |= {
        "file_bytes": path.stat().st_size,
        "gpus": listed,
        "completion": answer["content"][:60],
        "predicted_gib": [round(need, 3) for need in needs],
        "measured_gib": [round(each, 3) for each in found],
        "predicted_tokens_s": round(1 / (layout.step_s or 1), 1),
        "measured_tokens_s": round(rate, 1),
    }
    step.say(f"GPUs in the container: {listed}")
    step.say(f"completion: {answer['tokens_predicted']} tokens: {answer['content'][:60]!r}")
    step.say(f"tokens/s: {step.data['predicted_tokens_s']} predicted, {rate:.1f} measured")
    for need, each in zip(needs, found, strict=True):
        step.say(f"memory: {need:.2f} GiB predicted, {each:.2f} measured ({need / each - 1:+.1%})")
    near = [abs(need / each - 1) <= MEMORY_ERROR for need, each in zip(needs, found, strict=True)]
    return listed == [card.uuid for card in cards] and answer["tokens_predicted"] > 0 and all(near)


def _long(depth: int, tokens: int) -> dict[str, Any]:
    """`tokens` words behind a prompt of `depth`: numbers of tokens, so that no tokenizer counts otherwise."""
    return {
        "prompt": [100 + number % 1000 for number in range(depth)],
        "n_predict": tokens,
        "temperature": 0,
        "ignore_eos": True,
        "cache_prompt": False,
    }


def _request(run: Run, count: int, what: Rendered) -> Request:
    words = what.service.arguments
    users = int(words[words.index("-np") + 1])
    context = int(words[words.index("-c") + 1]) // users
    return Request(run.shapes[ONE[0]], "llama_cpp", ONE[1], (size.card(),) * count, context, users, "f16")


def _say_argv(what: Rendered, step: Step) -> None:
    """Without the key, which is in a file."""
    step.data["argv"] = list(what.words)
    step.say(" ".join(what.words))
