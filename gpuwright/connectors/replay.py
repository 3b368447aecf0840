"""@replay: a host that answers from its recording, and knows nothing else.

Strict: a command that was not recorded is an error that names it. Read as "no output" it would look like a host on
which all is well, or nothing is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import IOBase
from typing import NoReturn

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import ConnectError, InventoryError
from pyinfra.connectors.base import BaseConnector, ConnectorData, DataMeta
from pyinfra.connectors.util import CommandOutput, OutputLine
from typing_extensions import override

from gpuwright.connectors.recording import Answer, Recording, question
from gpuwright.errors import GpuwrightError

SHOWN = 120  # characters of a command's beginning and end in an error; scripts of operations are longer


class NotRecorded(OSError):
    """The recording lacks a command; an OSError, which pyinfra takes for a failure of one host."""


class ReplayData(ConnectorData, total=False):
    """Host data of this connector."""

    replay_recording: str


class ReplayConnector(BaseConnector):
    """`pyinfra @replay/tests/fleet/NAME/recording.json deploy.py --dry`: a recorded host, only to be looked at."""

    handles_execution = True
    data_cls = ReplayData
    data_meta = {  # noqa: RUF012  (the base class declares it so)
        "replay_recording": DataMeta("Path of the recording; by default the name after @replay/.")
    }

    @override
    @staticmethod
    def make_names_data(name: str | None) -> Iterator[tuple[str, dict[str, object], list[str]]]:
        if not name:
            raise InventoryError("@replay needs a recording: @replay/PATH")
        yield f"@replay/{name}", {"replay_recording": name}, ["@replay"]

    @override
    def connect(self) -> None:
        try:
            self._recording = Recording.read(self.data["replay_recording"])
        except GpuwrightError as error:
            raise ConnectError(str(error)) from error

    @override
    def run_shell_command(
        self,
        command: StringCommand,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: object,
    ) -> tuple[bool, CommandOutput]:
        asked = question(command, arguments)
        answer = self._recording.answer(asked)
        if answer is None:
            who = asked.user or "the login user"
            text = " ".join(asked.command.split())
            shown = text if len(text) <= 2 * SHOWN else f"{text[:SHOWN]} ... {text[-SHOWN:]}"
            raise NotRecorded(f"not in the recording {self.data['replay_recording']}, as {who}: {shown}")
        return answer.ok, output_of(answer)

    @override
    def put_file(
        self, filename_or_io: str | IOBase, remote_filename: str, *_: object, **__: object
    ) -> NoReturn:
        raise NotRecorded(f"a recorded host takes no files ({remote_filename})")

    @override
    def get_file(
        self, remote_filename: str, filename_or_io: str | IOBase, *_: object, **__: object
    ) -> NoReturn:
        raise NotRecorded(f"a recorded host gives no files ({remote_filename})")


def output_of(answer: Answer) -> CommandOutput:
    """The answer as pyinfra's own connectors give it."""
    return CommandOutput(
        [OutputLine("stdout", line) for line in answer.stdout]
        + [OutputLine("stderr", line) for line in answer.stderr]
    )
