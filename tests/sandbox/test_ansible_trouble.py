"""The second door when something is wrong: input, passwords, two plays at once, a killed one, and secrets.

The last of the four hosts is used, whose sudo asks for a password.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.control_node import ControlNode
from tests.sandbox.hosts import REPOSITORY, Sandbox
from tests.sandbox.test_ansible_core import BY_ANSIBLE, WITH_PASSWORD, counts, fingerprint, playbook, said
from tests.sandbox.test_bad_input import GO, HOLD_LOCK
from tests.sandbox.test_kill import LOCK_IS_HELD

# A role on its own, as a team's own playbook has it.
PLAY = """
- hosts: all
  gather_facts: false
  become: true
  tasks:
    - name: One role
      gpuwright_role:
        name: base
"""


@contextlib.contextmanager
def dpkg_locked(box: Sandbox) -> Iterator[None]:
    """While it lasts, a run waits at its first package."""
    box.exec(
        WITH_PASSWORD, HOLD_LOCK.replace("LOCK", "/var/lib/dpkg/lock-frontend").replace("SECONDS", "300")
    )
    try:
        yield
    finally:
        box.exec(WITH_PASSWORD, GO)


def started(control: ControlNode, *arguments: str) -> subprocess.Popen[bytes]:
    """A play on this machine that is not waited for."""
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "--inventory", *arguments]
    home = {"ANSIBLE_HOME": str(control.scratch / "ansible")}
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, **home},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for_the_lock(box: Sandbox) -> None:
    for _ in range(300):
        if box.exec(WITH_PASSWORD, LOCK_IS_HELD).returncode == 0:
            return
        time.sleep(0.1)
    raise AssertionError("no run took the lock")


def kill(process: subprocess.Popen[bytes]) -> None:
    """Ansible and its workers, at once, as the kernel does it when memory ends."""
    listing = subprocess.check_output(["ps", "-eo", "pid=,ppid="], text=True)
    parents = {int(pid): int(parent) for pid, parent in map(str.split, listing.splitlines())}
    family = {process.pid}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    for pid in family:
        with contextlib.suppress(ProcessLookupError):  # ended between the listing and now
            os.kill(pid, signal.SIGKILL)
    process.wait()


WRONG: dict[str, tuple[dict[str, object], str]] = {
    "a mistyped setting": (
        {"base_memlokc": "services"},
        "setting base_memlokc: no role has a setting of this name; required: a known setting. Did you mean "
        "base_memlock?",
    ),
    "a wrong value": ({"base_memlock": "yes"}, "base_memlock: 'yes' is not accepted"),
    "a wrong password": ({"ansible_become_password": "wrong"}, "Incorrect sudo password"),
    "no password": ({"ansible_become_password": ""}, "Missing sudo password"),
    "no become": (
        {"ansible_become": False},
        "commands run as user id 1000; required: commands that run as root.",
    ),
    "another user than root": ({"ansible_become_user": "nobody"}, "commands run as user id 65534"),
    "a host without a shell": ({"ansible_user": "nosh"}, "This account is currently not available."),
    "a host that is off": ({"ansible_port": 9}, "Connection refused"),
}


# Words of Ansible's own may differ between its releases; ours do not.
@pytest.mark.parametrize(
    ("node", "case"),
    [
        *(("here", case) for case in WRONG),
        ("debian13", "a mistyped setting"),
        ("debian13", "a wrong password"),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(
    four: Sandbox, nodes: dict[str, ControlNode], node: str, case: str
) -> None:
    control, (data, words) = nodes[node], WRONG[case]
    made = four.exec(
        WITH_PASSWORD,
        "id nosh >/dev/null 2>&1 || useradd --create-home --shell /usr/sbin/nologin nosh\n"
        "cp -r /home/ops/.ssh /home/nosh/ && chown -R nosh: /home/nosh/.ssh",
    )
    assert made.returncode == 0, made.stderr
    before = fingerprint(four, WITH_PASSWORD)
    inventory = control.inventory(four, [WITH_PASSWORD])
    play = control.write("role.yml", PLAY)
    more = control.write("wrong.json", json.dumps(data))
    done = playbook(control, inventory, play, "-e", f"@{more}")
    assert done.returncode in (2, 4), done.stdout + done.stderr
    assert words in said(done)
    assert "Traceback" not in done.stdout + done.stderr
    assert fingerprint(four, WITH_PASSWORD) == before


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        (
            "async: 60",
            "gpuwright_role: the task has async; required: a task that Ansible waits for. Remove async",
        ),
        ("timeout: 1", "Timed out after 1 second"),
        (
            "delegate_to: elsewhere",
            "the task has delegate_to, so one host's settings would be applied to another",
        ),
    ],
)
def test_keywords_of_a_task(control: ControlNode, four: Sandbox, keywords: str, words: str) -> None:
    """With a timeout the host's next task is not told that the last one still has it."""
    slow = {"base_extra_packages": ["sl"]}
    inventory = control.inventory(four, [WITH_PASSWORD], slow)
    play = control.write("role.yml", f"{PLAY}      {keywords}\n")
    with dpkg_locked(four):
        done = playbook(control, inventory, play)
    assert done.returncode == 2
    assert words in said(done)
    assert "Traceback" not in done.stdout + done.stderr
    look = playbook(control, inventory, control.write("role.yml", PLAY), "--check")
    assert "is being changed by" not in said(look)


def test_no_secret_is_shown(control: ControlNode, four: Sandbox) -> None:
    """The registry's password comes from a vault, the sudo password from the inventory; the role writes the first."""
    (row,) = (host for host in four.hosts if host["name"] == BY_ANSIBLE)
    assert row["sudo_password"] is None
    password, vault = secrets.token_hex(12), control.write("vault-password", secrets.token_hex(12))
    encrypted = control.run(
        "ansible-vault",
        "encrypt_string",
        "--vault-password-file",
        vault,
        "--stdin-name",
        "ghcr_password",
        stdin=password,
    )
    assert encrypted.returncode == 0, encrypted.stderr
    login = {"registry": "registry.invalid", "username": "lab", "password": "var:ghcr_password"}
    inventory = control.inventory(four, [BY_ANSIBLE], {"container_engine_registry_logins": [login]})
    written = "/etc/gpuwright/docker/config.json"
    four.exec(BY_ANSIBLE, f"rm -f {written}")
    done = playbook(
        control,
        inventory,
        "playbooks/site.yml",
        *("--tags", "container_engine", "-vvvv", "--diff", "--vault-password-file", vault),
        *("-e", f"@{control.write('vault.yml', encrypted.stdout)}"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pair = base64.b64encode(f"lab:{password}".encode()).decode()
    assert pair in four.exec(BY_ANSIBLE, f"cat {written}").stdout
    text = done.stdout + done.stderr
    assert "registry.invalid" in text  # it was at work
    assert [name for name, value in {"password": password, "account": pair}.items() if value in text] == []
    four.exec(BY_ANSIBLE, f"rm -f {written}")


def test_the_sudo_password_is_shown_nowhere(control: ControlNode, four: Sandbox) -> None:
    (row,) = (host for host in four.hosts if host["name"] == WITH_PASSWORD)
    inventory = control.inventory(four, [WITH_PASSWORD], {"base_memlock": "leave"})
    done = playbook(control, inventory, "playbooks/site.yml", "--tags", "base", "-vvvv", "--diff")
    assert done.returncode == 0, done.stdout + done.stderr
    # Of the password the first word, which survives all ways of quoting the others.
    assert str(row["sudo_password"]).partition(" ")[0] not in done.stdout + done.stderr


def test_a_command_that_outlives_its_task_keeps_others_away(
    four: Sandbox, nodes: dict[str, ControlNode]
) -> None:
    control = nodes["here"]
    inventory = control.inventory(four, [WITH_PASSWORD], {"base_extra_packages": ["sl"]})
    play = control.write("role.yml", PLAY)
    slow = "/etc/apt/apt.conf.d/99slow"
    four.exec(WITH_PASSWORD, f"""echo 'DPkg::Pre-Invoke {{ "sleep 25"; }};' >{slow}""")
    try:
        done = playbook(control, inventory, control.write("slow.yml", f"{PLAY}      timeout: 10\n"))
        assert "Timed out after 10 second" in said(done)
        assert four.exec(WITH_PASSWORD, "pgrep -x apt-get").returncode == 0
        other = playbook(control, inventory, play)
        assert other.returncode == 2
        assert "a run that is over left a command running there" in said(other)
    finally:
        four.exec(WITH_PASSWORD, f"rm -f {slow}; while pgrep -x apt-get; do sleep 0.2; done; sleep 2")
    again = playbook(control, inventory, play)
    assert again.returncode == 0, again.stdout + again.stderr
    four.exec(WITH_PASSWORD, "apt-get -q purge -y sl")


def test_become_may_be_su(four: Sandbox, nodes: dict[str, ControlNode]) -> None:
    """It takes no stdin, so all that is sent comes as files, which do not stay."""
    control = nodes["here"]
    four.exec(WITH_PASSWORD, "echo root:of-root | chpasswd")
    su = {"ansible_become_method": "su", "ansible_become_password": "of-root"}
    inventory = control.inventory(four, [WITH_PASSWORD], {"base_proxy": "http://127.0.0.1:9"})
    try:
        more = control.write("su.json", json.dumps(su))
        done = playbook(control, inventory, control.write("role.yml", PLAY), "-e", f"@{more}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "127.0.0.1:9" in four.exec(WITH_PASSWORD, "cat /etc/apt/apt.conf.d/*proxy*").stdout
        assert four.exec(WITH_PASSWORD, "ls /home/ops/.ansible/tmp").stdout == ""
    finally:
        four.exec(WITH_PASSWORD, "passwd --lock root")
        playbook(control, control.inventory(four, [WITH_PASSWORD]), control.write("role.yml", PLAY))


def test_of_two_plays_at_once_the_second_is_told_about_the_first(
    four: Sandbox, nodes: dict[str, ControlNode]
) -> None:
    control = nodes["here"]
    inventory = control.inventory(four, [WITH_PASSWORD], {"base_extra_packages": ["sl"]})
    play = control.write("role.yml", PLAY)
    with dpkg_locked(four):
        first = started(control, inventory, play)
        wait_for_the_lock(four)
        second = playbook(control, inventory, play)
        assert second.returncode == 2
        assert re.search(
            rf"host {WITH_PASSWORD}: another run has been changing it for \d+ s \(\S+, pid \d+\)",
            said(second),
        )
    assert first.wait(300) == 0
    four.exec(WITH_PASSWORD, "apt-get -q purge -y sl")


def test_a_killed_play_leaves_nothing_to_wait_for(four: Sandbox, nodes: dict[str, ControlNode]) -> None:
    control = nodes["here"]
    inventory = control.inventory(four, [WITH_PASSWORD], {"base_extra_packages": ["sl"]})
    play = control.write("role.yml", PLAY)
    with dpkg_locked(four):
        first = started(control, inventory, play)
        wait_for_the_lock(four)
        kill(first)
    again = playbook(control, inventory, play)
    assert again.returncode == 0, again.stdout + again.stderr
    assert counts(again)[WITH_PASSWORD]["changed"] == 1
    assert four.exec(WITH_PASSWORD, "ls -d /run/gpuwright-task-* 2>/dev/null").stdout == ""
    four.exec(WITH_PASSWORD, "apt-get -q purge -y sl")
