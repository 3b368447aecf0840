"""Operations through Ansible's door, with this machine's own shell in the place of Ansible's connection."""

from __future__ import annotations

import io
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyinfra.api import Host, operation
from pyinfra.api.command import FileUploadCommand, PyinfraCommand, StringCommand
from pyinfra.api.deploy import add_deploy

from gpuwright.ansible import run
from gpuwright.ansible.report import Report, result
from gpuwright.ansible.session import opened
from gpuwright.ansible.variables import secrets_among, settings_among
from gpuwright.drift.log import Log
from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.operations.shell import failure, script, show
from tests.unit.test_ansible_lease import ThisMachine


@operation()
def written(path: str, text: str) -> Generator[PyinfraCommand]:
    """Have a file with `text`."""
    if not Path(path).exists():
        show(f"{path}: absent -> written")
        yield FileUploadCommand(io.StringIO(text), path)


@operation()
def ran(text: str) -> Generator[PyinfraCommand]:
    """Run a script."""
    yield script(text)


@operation()
def tolerant() -> Generator[PyinfraCommand]:
    """Run a command that may fail."""
    yield StringCommand("sh", "-c", "'echo tolerated >&2; exit 3'", _success_exit_codes=[0, 3])


@operation()
def refusing() -> Generator[PyinfraCommand]:
    """Refuse what is found."""
    yield failure(Refusal("disk", "is full", "room", "Make some."))


@operation()
def raising() -> Generator[PyinfraCommand]:
    """Fail to read."""
    raise GpuwrightError.of("file", "is not JSON", "JSON", "Correct it.")
    yield


@contextmanager
def declared(body: Callable[[], object], log: Log) -> Iterator[Host]:
    with opened(ThisMachine(), "@here", {}, diff=True) as host:
        add_deploy(host.state, body)
        yield host


def looked(body: Callable[[], object]) -> Report:
    log = Log()
    with declared(body, log) as host:
        return run.look(host, log)


def applied(body: Callable[[], object]) -> Report:
    log = Log()
    with declared(body, log) as host:
        return run.apply(host, log, lambda name: None)


def statuses(report: Report) -> list[tuple[str, str]]:
    return [(each.name, each.status) for each in report.operations]


def test_a_look_changes_nothing_and_a_run_does_it_once(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def body() -> None:
        written(name="File", path=str(path), text="caf\u00e9\n")

    look = looked(body)
    assert statuses(look) == [("File", "change")] and look.changed and not path.exists()
    assert look.operations[0].details == (f"{path}: absent -> written",)
    run_ = applied(body)
    assert statuses(run_) == [("File", "change")] and path.read_text() == "caf\u00e9\n"
    again = applied(body)
    assert statuses(again) == [("File", "ok")] and not again.changed


def test_an_empty_file_is_written_too(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    applied(lambda: written(name="File", path=str(path), text=""))
    assert path.read_bytes() == b""


def test_what_depends_on_the_run_is_no_sure_change(tmp_path: Path) -> None:
    look = looked(lambda: ran(name="Maybe", text="exit 0", _if=lambda: False))
    assert statuses(look) == [("Maybe", "maybe")] and not look.changed


def test_a_failure_names_its_own_command_and_stops_the_rest() -> None:
    def body() -> None:
        tolerant(name="Tolerant")
        ran(name="Bad", text="echo no room >&2; exit 7")
        ran(name="After", text="exit 0")

    report = applied(body)
    assert statuses(report) == [("Tolerant", "change"), ("Bad", "failed"), ("After", "not run")]
    assert report.problems == ("Bad: `echo no room >&2; exit 7` ended with 7: no room",)
    assert result(report, "0" * 64, diff=False)["failed"] is True


def test_a_failed_upload_is_not_blamed_on_the_command_before_it(tmp_path: Path) -> None:
    def body() -> None:
        tolerant(name="Tolerant")
        written(name="File", path=str(tmp_path / "no" / "where"), text="x")

    (problem,) = applied(body).problems
    assert problem.startswith(f"File: `upload {tmp_path}/no/where` ended with ")
    assert "tolerated" not in problem


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (lambda: refusing(name="Disk"), "Disk: disk: is full; required: room. Make some."),
        (lambda: raising(name="Read"), "Read: file: is not JSON; required: JSON. Correct it."),
    ],
)
def test_refusals_are_sentences_in_both(body: Callable[[], object], problem: str) -> None:
    assert looked(body).problems == (problem,)
    assert applied(body).problems == (problem,)


def test_settings_are_plain_values_and_mistyped_names_come_along() -> None:
    class Tagged(str):
        """As Ansible marks where a text is from."""

    variables = {
        "base_extra_packages": [Tagged("gdb")],
        "base_memlokc": "services",
        "ansible_host": "h",
        "_base_ran": {},
        "ssh_port": 22,
        "container_engine_registry_logins": [{"password": "var:ghcr"}],
        "ghcr": Tagged("s3cret"),
        "unused": "x",
    }
    data = settings_among(variables, lambda value: value)
    assert data["base_extra_packages"] == ["gdb"]
    assert type(data["base_extra_packages"][0]) is str  # type: ignore[index]
    assert "base_memlokc" in data and data["unused"] is None
    assert not {"ansible_host", "_base_ran", "ssh_port"} & set(data)
    assert data["ghcr"] == "s3cret" and "s3cret" in secrets_among(data)


def test_secrets_that_settings_refer_to_are_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GHCR", "from-environment")
    (tmp_path / "password").write_text("from-file\n")
    logins = [
        {"password": "env:GHCR"},
        {"password": f"file:{tmp_path}/password"},
        {"password": "env:NOT_SET"},
    ]
    assert set(secrets_among({"container_engine_registry_logins": logins})) == {
        "from-environment",
        "from-file",
    }
