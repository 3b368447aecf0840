"""A tape: keeps what a connected host answers while something else asks it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pyinfra.api.command import StringCommand
from pyinfra.api.host import Host
from pyinfra.connectors.util import CommandOutput

from gpuwright.connectors.recording import Answer, Question, Recording, question
from gpuwright.connectors.replay import output_of
from gpuwright.drift.mask import MASK, mask_text
from gpuwright.facts import HostFacts, parse
from gpuwright.facts.redact import redacted


class Tape:
    """Answers in the order in which they were asked for; `facts` stand in for the host's own where given.

    `secrets` appear in nothing that is kept, nor do serial numbers.
    """

    def __init__(self, facts: HostFacts | None, secrets: Iterable[str]) -> None:
        self._facts = facts
        self._secrets = tuple(secrets)
        self._answers: dict[Question, Answer] = {}

    @property
    def recording(self) -> Recording | None:
        """What was kept; None where the host was never asked for its facts."""
        return Recording(self._facts, self._answers) if self._facts else None

    def listen(self, host: Host) -> None:
        """Keep what `host` answers from now on."""
        connector = host.connector
        run: Callable[..., tuple[bool, CommandOutput]] = connector.run_shell_command
        asking = False

        def run_shell_command(
            command: StringCommand, print_output: bool = False, print_input: bool = False, **arguments: object
        ) -> tuple[bool, CommandOutput]:
            nonlocal asking
            asked = question(command, arguments)
            if asked.is_probe and self._facts is not None:
                return True, output_of(Recording(self._facts).answer(asked) or Answer(False))
            if asking or _is_about_sudo(host, asked):
                return run(command, print_output, print_input, **arguments)
            asking = True
            try:
                ok, output = run(command, print_output, print_input, **arguments)
            finally:
                asking = False
            if asked.is_probe and ok:
                self._facts = redacted(parse("\n".join(output.stdout_lines)))
            else:
                self._keep(asked, Answer(ok, tuple(output.stdout_lines), tuple(output.stderr_lines)))
            return ok, output

        connector.run_shell_command = run_shell_command  # type: ignore[method-assign]

    def _keep(self, asked: Question, answer: Answer) -> None:
        command = asked.command
        for secret in self._secrets:
            command = command.replace(secret, MASK)
        kept = Answer(answer.ok, self._clean(answer.stdout), self._clean(answer.stderr))
        self._answers.setdefault(Question(asked.user, command), kept)

    def _clean(self, lines: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(mask_text("\n".join(lines), self._secrets).splitlines())


def _is_about_sudo(host: Host, asked: Question) -> bool:
    """Whether it removes the helper by which pyinfra gave sudo a password: that belongs to the connection."""
    helpers = [str(value) for name, value in host.connector_data.items() if "askpass" in name and value]
    return any(helper in asked.command for helper in helpers)
