"""Recordings, and the connector that answers from one and from nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyinfra.api import inventory
from pyinfra.api.command import HiddenValue, StringCommand
from pyinfra.api.exceptions import ConnectError
from pyinfra.connectors.util import CommandOutput, OutputLine

from gpuwright.connectors.recording import Answer, Question, Recording, question
from gpuwright.connectors.replay import NotRecorded, ReplayConnector
from gpuwright.connectors.tape import Tape
from gpuwright.errors import GpuwrightError
from gpuwright.facts import HostFacts
from gpuwright.facts.read import probe_script
from gpuwright.inventory import HostEntry
from gpuwright.operations.shell import script
from gpuwright.paths import ROOT
from gpuwright.pyinfra_lookups import remember

FACTS = HostFacts.from_json((ROOT / "tests/fleet/sandbox-debian13/facts.json").read_text())
UNAME = Question("root", "uname -r")
RECORDING = Recording(FACTS, {UNAME: Answer(True, ("6.12.48",), ("a warning",))})


def connected(path: Path, recording: Recording = RECORDING) -> ReplayConnector:
    path.write_text(recording.to_json())
    (host,) = HostEntry(f"@replay/{path}", {"_sudo": True}).pyinfra_inventory()
    connector = ReplayConnector(None, host)  # type: ignore[arg-type]
    connector.connect()
    return connector


def test_a_recording_is_read_back_as_it_was() -> None:
    assert Recording.from_json(RECORDING.to_json(), "x") == RECORDING


@pytest.mark.parametrize(
    ("text", "observed"),
    [
        ("", "JSONDecodeError"),
        (RECORDING.to_json()[:500], "JSONDecodeError"),
        ("[]", "TypeError"),
        ('{"schema": 1}', "KeyError"),
        ('{"schema": 9}', "schema 9"),
        ('{"schema": 1, "facts": {}, "answers": []}', "Field required"),
        ('{"schema": 1, "facts": {}, "answers": [{"user": ""}]}', "KeyError"),
    ],
)
def test_what_is_no_recording_is_named(text: str, observed: str) -> None:
    with pytest.raises(GpuwrightError) as error:
        Recording.from_json(text, "tests/x.json")
    assert "recording tests/x.json" in str(error.value)
    assert observed in str(error.value)


def test_a_recording_that_is_not_there_is_a_host_that_does_not_connect(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match=r"nothing\.json"):
        (host,) = HostEntry(f"@replay/{tmp_path}/nothing.json", {}).pyinfra_inventory()
        ReplayConnector(None, host).connect()  # type: ignore[arg-type]


def test_a_recorded_command_is_answered_and_no_other(tmp_path: Path) -> None:
    replay = connected(tmp_path / "recording.json")
    ok, output = replay.run_shell_command(StringCommand("uname", "-r"), _sudo=True, _sudo_password="x")
    assert (ok, output.stdout_lines, output.stderr_lines) == (True, ["6.12.48"], ["a warning"])
    with pytest.raises(NotRecorded, match="as root: uname -a"):
        replay.run_shell_command(StringCommand("uname", "-a"), _sudo=True)
    with pytest.raises(NotRecorded, match="as the login user: uname -r"):
        replay.run_shell_command(StringCommand("uname", "-r"))
    with pytest.raises(NotRecorded, match="takes no files"):
        replay.put_file("a", "/etc/a")
    with pytest.raises(NotRecorded, match="gives no files"):
        replay.get_file("/etc/a", "a")


def test_the_probe_is_answered_with_facts_whatever_its_text_was(tmp_path: Path) -> None:
    replay = connected(tmp_path / "recording.json")
    guarded = StringCommand("if true; then", script(probe_script()), "; fi")
    _, output = replay.run_shell_command(guarded, _sudo=True)
    assert HostFacts.from_json("\n".join(output.stdout_lines)) == FACTS


@pytest.mark.parametrize(
    ("arguments", "user"),
    [
        ({}, ""),
        ({"_sudo": True}, "root"),
        ({"_sudo": True, "_sudo_user": "www"}, "www"),
        ({"_su_user": "root", "_su_password": "x"}, "root"),
        ({"_doas": True}, "root"),
    ],
)
def test_who_asks_is_part_of_a_question(arguments: dict[str, object], user: str) -> None:
    assert question(StringCommand("id"), arguments).user == user


class Speaker:
    """A connector that repeats each command; asked as root it first asks for sudo's helper, as pyinfra does."""

    def __init__(self) -> None:
        self.connector = self
        self.connector_data: dict[str, str] = {}

    def run_shell_command(
        self,
        command: StringCommand,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: object,
    ) -> tuple[bool, CommandOutput]:
        if arguments.get("_sudo"):
            self.connector.run_shell_command(StringCommand("mktemp", "askpass-4711"))
            self.connector_data["sudo_askpass_path__/tmp"] = "/tmp/askpass-4711"
        return True, CommandOutput([OutputLine("stdout", str(command))])


def taped(*commands: StringCommand, secrets: tuple[str, ...] = ()) -> Recording:
    tape = Tape(FACTS, secrets)
    host = Speaker()
    tape.listen(host)  # type: ignore[arg-type]
    for command in commands:
        host.connector.run_shell_command(command, _sudo=True)
    host.connector.run_shell_command(StringCommand("rm", "-f", "/tmp/askpass-4711"))
    recording = tape.recording
    assert recording is not None
    return recording


def test_a_tape_keeps_what_was_asked_and_not_how_sudo_was_served() -> None:
    assert list(taped(StringCommand("id"), StringCommand("id")).answers) == [Question("root", "id")]


def test_no_secret_is_kept() -> None:
    commands = (
        StringCommand("login", HiddenValue("hidden-word")),
        StringCommand("echo", "declared-word"),
        StringCommand("cat", '{"token": "found-word"}'),
    )
    recording = taped(*commands, secrets=("declared-word",))
    asked = " ".join(each.command for each in recording.answers)
    assert "hidden-word" not in asked and "declared-word" not in asked
    said = " ".join(line for each in recording.answers.values() for line in each.stdout)
    assert not [word for word in ("hidden-word", "declared-word", "found-word") if word in said]


def test_a_tape_that_heard_no_facts_is_no_recording() -> None:
    assert Tape(None, ()).recording is None


@pytest.mark.parametrize("path", sorted((ROOT / "tests" / "fleet").glob("*/recording*.json")), ids=str)
def test_committed_recordings_identify_nobody(path: Path) -> None:
    recording = Recording.read(path)
    assert {value for _, value in recording.facts.readings.serials} <= {"redacted"}
    assert json.loads(path.read_text())["answers"], "a recording without answers replays nothing"


def test_what_pyinfra_looks_up_again_and_again_is_kept() -> None:
    remember()
    remember()
    connectors = inventory.get_all_connectors()
    assert {"ssh", "local", "replay"} <= set(connectors)
    assert inventory.get_all_connectors() is connectors
