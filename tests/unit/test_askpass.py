"""sudo's password on the way to a host: over @local, with a sudo of our own that writes down how it was called."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.host import Host

from gpuwright import askpass
from gpuwright.inventory import HostEntry
from gpuwright.session import opened

PASSWORD = 'it\'s $(a) "secret" \\ é'
# Its arguments, its environment, and what the helper says; then the command itself.
SUDO = """#!/bin/sh
{ echo "$@"; env; } >>"$TMPDIR/called"
"$SUDO_ASKPASS" >"$TMPDIR/password"
while [ "$1" != sh ]; do shift; done
exec "$@"
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with `sudo` in it, which is also where helpers are kept."""
    (tmp_path / "sudo").write_text(SUDO)
    (tmp_path / "sudo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def host(home: Path) -> Iterator[Host]:
    with opened(HostEntry("@local", {})) as opened_host:
        yield opened_host


def sudo(host: Host, password: str | None = PASSWORD, command: str = "echo done") -> str:
    ok, output = host.run_shell_command(StringCommand(command), _sudo=True, _sudo_password=password)
    assert ok, output.output
    return str(output.stdout)


def helpers(home: Path) -> list[Path]:
    return sorted(home.glob("gpuwright-askpass-*"))


def gone(path: Path) -> bool:
    for _ in range(100):
        if not path.exists():
            return True
        time.sleep(0.05)
    return False


def test_sudo_gets_it_from_a_file_of_the_users_own(host: Host, home: Path) -> None:
    assert sudo(host) == "done"
    assert sudo(host) == "done"
    assert (home / "password").read_text() == f"{PASSWORD}\n"
    (helper,) = helpers(home)
    assert helper.stat().st_mode & 0o7777 == 0o700
    called = (home / "called").read_text()
    assert "-H -A -k" in called
    assert askpass.PLACEHOLDER in called and PASSWORD not in called


def test_an_answer_to_a_prompt_takes_the_same_way(host: Host, home: Path) -> None:
    host.connector_data["prompted_sudo_password"] = PASSWORD
    assert sudo(host, None) == "done"
    assert (home / "password").read_text() == f"{PASSWORD}\n"
    assert PASSWORD not in (home / "called").read_text()


def test_a_line_break_at_the_end_of_a_file_is_no_part_of_it(host: Host, home: Path) -> None:
    sudo(host, "short\n")
    assert (home / "password").read_text() == "short\n"


def test_another_password_is_another_file(host: Host, home: Path) -> None:
    sudo(host)
    sudo(host, "other")
    assert (home / "password").read_text() == "other\n"
    assert len(helpers(home)) == 2


def test_the_end_of_the_connection_removes_it(home: Path) -> None:
    with opened(HostEntry("@local", {})) as host:
        sudo(host)
        assert helpers(home)
    assert not helpers(home)


def test_the_end_of_a_killed_run_removes_it(home: Path) -> None:
    program = (
        "import os, signal\nfrom gpuwright.inventory import HostEntry\nfrom gpuwright.session import opened\n"
        "from tests.unit.test_askpass import sudo\n"
        "with opened(HostEntry('@local', {})) as host:\n"
        "    sudo(host)\n"
        "    print('used', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "used\n", done.stderr
    assert (home / "password").read_text() == f"{PASSWORD}\n"
    assert all(gone(helper) for helper in helpers(home))


def test_what_nobody_holds_any_more_is_removed_and_what_is_held_stays(host: Host, home: Path) -> None:
    sudo(host)
    (held,) = helpers(home)
    left = home / "gpuwright-askpass-left"
    left.write_text("an old password")
    for path in (held, left):
        os.utime(path, (0, 0))
    with opened(HostEntry("@local", {})) as other:
        sudo(other)
        assert held in helpers(home) and left not in helpers(home)
        assert len(helpers(home)) == 2


def test_su_gets_it_the_same_way(host: Host, home: Path) -> None:
    arguments = {"_su_user": "root", "_su_password": PASSWORD}
    line = askpass.unix_command(host.state, host, StringCommand("id"), **arguments).get_raw_value()
    assert PASSWORD not in line and line.startswith("env PYINFRA_SU_PASSWORD=")
    (helper,) = helpers(home)
    assert f"{helper} | su root -c" in line
    assert subprocess.run([helper], capture_output=True, text=True, check=True).stdout == f"{PASSWORD}\n"


def test_a_host_without_a_place_for_it_is_an_error(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(askpass, "_HOLD", "echo no place >&2; exit 1")
    with pytest.raises(PyinfraError, match=r"could not be handed to the host \(no place\)"):
        sudo(host)
