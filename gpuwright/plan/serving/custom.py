"""An engine that the operator knows: their image, their words, our unit around it."""

from __future__ import annotations

from gpuwright.plan.model import Model
from gpuwright.plan.serving.serving import HOME, Serving
from gpuwright.settings import ServiceDeclaration

SOURCE = "docs/engines.md"
BUSY = ""
OUT_OF_MEMORY = "out of memory|OutOfMemoryError"
CACHE = True
SHM_BYTES = 1024**3
WORDS = ("{model}", "{name}", "{port}", "{gpus}", "{context}", "{parallel}")


def key(declared: ServiceDeclaration) -> str:
    """As declared."""
    return declared.key_variable


def refuses(declared: ServiceDeclaration, _: Model) -> tuple[str, str, str] | None:
    """Nothing is known of it but what is declared, which has to be enough."""
    if declared.image is None:
        remedy = "Set image = repository@sha256:... of the engine (docs/engines.md has examples)."
        return "no image is declared", "an image by digest, or by id", remedy
    if not any("{port}" in word for word in (*declared.arguments, *declared.environment.values())):
        remedy = "Add {port}, with which it has to listen on 127.0.0.1, to arguments or environment."
        return "neither arguments nor environment have {port}", "an engine that is told its port", remedy
    if declared.out_of_memory:
        remedy = "Remove out_of_memory, and declare less in its arguments."
        return "out_of_memory is declared", "llama_cpp or vllm, whose flags are known", remedy
    return None


def environment(_: Serving) -> tuple[tuple[str, str], ...]:
    """A home that it can write to."""
    return (("HOME", HOME), ("HF_HUB_OFFLINE", "1"))


def arguments(_: Serving) -> tuple[str, ...]:
    """All of them are declared."""
    return ()


def rung(_: Serving, context: int, batch: int, utilisation: int) -> tuple[str, ...]:
    """None: it is refused."""
    return ()


def filled(word: str, serving: Serving) -> str:
    """A declared word with the values that the plan has for it.

    Of {model} the path, of {gpus} how many; braces around anything else stay as they are.
    """
    values = (
        serving.model.entry,
        serving.model.name,
        serving.port,
        serving.ranks,
        serving.context,
        serving.parallel,
    )
    for placeholder, value in zip(WORDS, values, strict=True):
        word = word.replace(placeholder, str(value))
    return word
