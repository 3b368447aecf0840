"""A recording: a host's facts, and its answers to what a dry run of deploy.py asks."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pyinfra.api.command import StringCommand

from gpuwright.errors import GpuwrightError
from gpuwright.facts import HostFacts
from gpuwright.facts.read import probe_script

SCHEMA = 1
# Every other argument is about how a command runs, not about what it answers.
_USERS = ("_sudo_user", "_su_user", "_doas_user", "_dzdo_user")
_ROOT = ("_sudo", "_doas", "_dzdo")


@dataclass(frozen=True)
class Question:
    """A command and who runs it: root, a user, or "" for whom the connection logs in as."""

    user: str
    command: str

    @property
    def is_probe(self) -> bool:
        """Whether it asks for the host's facts, which a recording keeps as facts and not as text."""
        return shlex.quote(probe_script()) in self.command


@dataclass(frozen=True)
class Answer:
    """What a command gave, in lines."""

    ok: bool
    stdout: tuple[str, ...] = ()
    stderr: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recording:
    """Facts and answers of one host at one time."""

    facts: HostFacts
    answers: Mapping[Question, Answer] = field(default_factory=dict)

    def answer(self, question: Question) -> Answer | None:
        """What the host said, or None for what it was not asked."""
        if question.is_probe:
            return Answer(True, tuple(self.facts.to_json().splitlines()))
        return self.answers.get(question)

    def to_json(self) -> str:
        """JSON text with a line for each line of output, so that a changed answer is a small diff."""
        answers = [{**asdict(question), **asdict(answer)} for question, answer in self.answers.items()]
        content = {"schema": SCHEMA, "facts": json.loads(self.facts.to_json()), "answers": answers}
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, origin: str) -> Recording:
        """What `to_json` gave; GpuwrightError names `origin` where it is something else."""
        try:
            content = json.loads(text)
            if content["schema"] != SCHEMA:
                raise _unreadable(origin, f"schema {content['schema']}")
            answers = {
                Question(each["user"], each["command"]): Answer(
                    bool(each["ok"]), tuple(each["stdout"]), tuple(each["stderr"])
                )
                for each in content["answers"]
            }
            facts = json.dumps(content["facts"])
        except (ValueError, KeyError, TypeError) as error:
            raise _unreadable(origin, f"{type(error).__name__}: {error}") from error
        try:
            return cls(HostFacts.from_json(facts), answers)
        except GpuwrightError as error:
            raise _unreadable(origin, error.refusals[0].observed) from error

    @classmethod
    def read(cls, path: str | Path) -> Recording:
        """The recording in a file. GpuwrightError where there is none."""
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise _unreadable(str(path), str(error)) from error


def question(command: StringCommand | str, arguments: Mapping[str, object]) -> Question:
    """What a connector is asked, without what pyinfra adds to run it (sudo's helper, a terminal, a timeout)."""
    user = next((str(arguments[name]) for name in _USERS if arguments.get(name)), "")
    if not user and any(arguments.get(name) for name in _ROOT):
        user = "root"
    return Question(user, command if isinstance(command, str) else command.get_masked_value())


def _unreadable(origin: str, observed: str) -> GpuwrightError:
    return GpuwrightError.of(
        f"recording {origin}",
        observed,
        f"a recording of schema {SCHEMA}",
        "Make it: gpuwright record HOST DIR.",
    )
