"""The second door: ansible-playbook on real hosts, with this machine's ansible-core and with the newest we allow.

Four hosts of their own: sbx1 is a control node with Debian 13's Python; the others are targets, sbx2 and sbx3 alike,
and sbx4's sudo asks for a password. They are fresh at first, so the tests are one story, told in order.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.sandbox.conftest import REPOSITORY, Sandbox
from tests.sandbox.control_node import ControlNode
from tests.sandbox.test_deploy import planned_changes
from tests.sandbox.test_kill import FINGERPRINT

TARGETS = ["sbx2", "sbx3", "sbx4"]
OLDEST, NEWEST = (2, 19), (2, 21)
BY_PYINFRA, BY_ANSIBLE, WITH_PASSWORD = TARGETS
BIN = Path(sys.executable).parent
SERVICES: dict[str, object] = {"inference_services": [{"name": "chat"}]}


def test_the_control_nodes_are_two_versions_of_ansible_core(nodes: dict[str, ControlNode]) -> None:
    """The second one is the reason for the host: where both are the same, nothing is shown by running both."""
    old, new = nodes["here"].versions.series, nodes["debian13"].versions.series
    assert OLDEST <= old <= new
    assert new >= NEWEST


def test_each_control_node_becomes_root_on_every_target(control: ControlNode, four: Sandbox) -> None:
    """Ansible alone, with host keys checked, before any plugin of ours: what fails here is the tests' own doing."""
    inventory = control.inventory(four, TARGETS)
    done = control.run("ansible", "--inventory", inventory, "all", "--become", "-m", "raw", "-a", "id -u")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("rc=0") == len(TARGETS)
    assert [line for line in done.stdout.splitlines() if line.strip() == "0"] == ["0"] * len(TARGETS)


def fingerprint(box: Sandbox, host: str) -> str:
    """What counts of a host, read past SSH by a script that shares nothing with us."""
    done = box.exec(host, FINGERPRINT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def playbook(control: ControlNode, inventory: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return control.run("ansible-playbook", "--inventory", inventory, *arguments)


def counts(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, int]]:
    """The recap: host -> word -> number."""
    rows = re.findall(r"^(\S+) +: (ok=.*)$", done.stdout, flags=re.MULTILINE)
    return {
        host: {word: int(number) for word, number in re.findall(r"(\w+)=(\d+)", row)} for host, row in rows
    }


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Both outputs as one line: Ansible wraps long sentences."""
    return " ".join((done.stdout + done.stderr).split())


def test_a_look_at_fresh_hosts_shows_the_whole_plan_and_changes_nothing(
    control: ControlNode, four: Sandbox
) -> None:
    inventory = control.inventory(four, TARGETS, SERVICES)
    before = {host: fingerprint(four, host) for host in TARGETS}
    done = playbook(control, inventory, "playbooks/site.yml", "--check", "--diff")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "apt install curl" in done.stdout
    assert "+ExecStart=/usr/bin/docker run" in done.stdout
    assert "gpuwright-chat.service: no unit file yet -> enabled" in done.stdout
    assert {host: row["changed"] for host, row in counts(done).items()} == dict.fromkeys(TARGETS, 5)
    assert {host: fingerprint(four, host) for host in TARGETS} == before


def test_both_engines_bring_about_the_same_host(four: Sandbox, nodes: dict[str, ControlNode]) -> None:
    """The inventory is pyinfra's own file, which our plugin reads for Ansible."""
    state = {"GPUWRIGHT_STATE_DIR": str(four.state_dir)}
    inventory, control = "inventories/sandbox.py", nodes["here"]

    def pyinfra(*arguments: str) -> str:
        command = [str(BIN / "pyinfra"), inventory, "deploy.py", *arguments]
        done = subprocess.run(
            command, cwd=REPOSITORY, env={**os.environ, **state}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def ansible(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["ansible-playbook", "--inventory", inventory, f"playbooks/{name}.yml", *arguments]
        done = control.run(*command, env=state)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    pyinfra("-y", "--limit", BY_PYINFRA)
    first = ansible("site", "--limit", BY_ANSIBLE)
    assert counts(first)[BY_ANSIBLE]["changed"] == 5
    assert "fetched, verified and stored" in first.stderr  # progress, beside what programs read
    assert fingerprint(four, BY_PYINFRA) == fingerprint(four, BY_ANSIBLE)
    assert planned_changes(pyinfra("--dry", "--limit", BY_ANSIBLE)) == set()
    look = ansible("site", "--check", "--limit", BY_PYINFRA)
    assert counts(look)[BY_PYINFRA]["changed"] == 0
    # What one role changes is a restart in another one, in another task.
    other_model = pyinfra("--dry", "--limit", BY_ANSIBLE, "--data", "inference_model=ok")
    look = ansible("site", "--check", "-v", "--limit", BY_ANSIBLE, "-e", "inference_model=ok")
    changes = set(re.findall(r"name: (.*)\n +status: change", look.stdout))
    assert "Inference | Services" in changes
    assert changes == planned_changes(other_model)
    again = ansible("site", "--limit", BY_ANSIBLE)
    assert counts(again)[BY_ANSIBLE]["changed"] == 0
    both = f"{BY_PYINFRA},{BY_ANSIBLE}"
    ansible("drift", "--limit", both)
    ansible("verify", "--limit", both)
    leftovers = four.exec(
        BY_ANSIBLE, "ls -d /home/ops/.ansible /root/.ansible /run/gpuwright-task-* 2>/dev/null"
    )
    assert leftovers.stdout == ""


def test_drift_and_verify_fail_where_something_differs(
    control: ControlNode, four: Sandbox, nodes: dict[str, ControlNode]
) -> None:
    inventory = control.inventory(four, [WITH_PASSWORD], SERVICES)
    for name, words in (
        ("drift", "Container engine | Packages"),
        ("verify", "packages.installed (docker.io): fail"),
    ):
        done = playbook(control, inventory, f"playbooks/{name}.yml")
        assert done.returncode == 2, done.stdout + done.stderr
        assert words in done.stdout
        assert counts(done)[WITH_PASSWORD]["changed"] == 0


def test_serial_takes_one_host_after_the_other(control: ControlNode, four: Sandbox) -> None:
    """Each control machine changes the limit to another value, so that both have something to do."""
    value = "logins" if control.name == "here" else "services"
    inventory = control.inventory(four, TARGETS, {"base_memlock": value})
    done = playbook(
        control, inventory, "playbooks/site.yml", "--tags", "base", "-e", "gpuwright_serial=1", "--diff"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^(?:PLAY \[|changed: \[(\w+)\])", done.stdout, flags=re.MULTILINE) == [
        word for host in TARGETS for word in ("", host)
    ]
    assert "/etc/security/limits.d/" in done.stdout
    looked = playbook(control, inventory, "playbooks/site.yml", "--tags", "base", "--check")
    assert {host: row["changed"] for host, row in counts(looked).items()} == dict.fromkeys(TARGETS, 0)
    # A part of the roles is not the plan.
    assert "applied.json" not in four.exec(WITH_PASSWORD, "ls /etc/gpuwright 2>/dev/null").stdout


def test_a_failing_operation_is_named_and_the_rest_does_not_run(control: ControlNode, four: Sandbox) -> None:
    inventory = control.inventory(four, [WITH_PASSWORD], {"base_extra_packages": ["no-such-package"]})
    before = fingerprint(four, WITH_PASSWORD)
    done = playbook(control, inventory, "playbooks/site.yml", "--tags", "base")
    assert done.returncode == 2
    assert re.search(
        r"Base \| Packages: `.*apt-get.*` ended with 100: .*Unable to locate package no-such-package",
        said(done),
    )
    statuses = re.findall(r"name: (.*?) status: (ok|change|failed|not run)", said(done))
    assert ("Base | Packages", "failed") in statuses
    assert ("Base | Limits", "not run") in statuses
    assert fingerprint(four, WITH_PASSWORD) == before
