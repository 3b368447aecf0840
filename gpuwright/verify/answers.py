"""What to ask a model, and which answer shows that it is the right one."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

MAX_TOKENS = 32
# Small models answer another question than they were asked without one.
SYSTEM = "You are a helpful assistant."


@dataclass(frozen=True)
class Probe:
    """A question; `match` is `contains`, `equals` or `any`, which takes every text that is not empty."""

    question: str
    match: str
    expects: str

    def accepts(self, answer: str) -> bool:
        """Whether `answer` is the expected one; space around it does not count."""
        if self.match == "equals":
            return answer.strip() == self.expects
        return bool(answer.strip()) and self.expects in answer

    @property
    def expected(self) -> str:
        """The expectation in words."""
        words = {"equals": f'exactly "{self.expects}"', "contains": f'an answer with "{self.expects}"'}
        return words.get(self.match, "an answer that is not empty")

    def request(self, model: str) -> str:
        """The request's JSON: the likeliest tokens, and not many of them."""
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": self.question}]
        return json.dumps({"model": model, "messages": messages, "max_tokens": MAX_TOKENS, "temperature": 0})


def probe_for(model: str) -> Probe:
    """The catalogue's question for `model`; for one that it does not know, any answer will do."""
    return _known().get(model, Probe("What is the capital of France?", "any", ""))


@cache
def _known() -> dict[str, Probe]:
    text = (files("gpuwright.catalog") / "answers.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text)["answer"]
    return {row["model"]: Probe(row["question"], row["match"], row["expects"]) for row in rows}
