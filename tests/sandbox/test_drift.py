"""Drift on real hosts: silent where all is as declared, and after a change by hand it names what differs.

Every change is made past SSH, through `docker exec`, and undone there; the last test repairs by a normal run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.sandbox.hosts import REPOSITORY, Sandbox
from tests.sandbox.test_deploy import HOSTS, NO_SERVICES, fingerprint, pyinfra, table

ONLY = [word for name in HOSTS for word in ("--limit", name)]  # an earlier file may have left a third host
UNIT = "/etc/systemd/system/gpuwright-chat.service"
CONF = "/etc/gpuwright/chat.conf"
ENV = "/etc/gpuwright/chat.env"
DAEMON = "/etc/docker/daemon.json"
STAMP = "/etc/gpuwright/applied.json"
MODEL = "/var/lib/gpuwright/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf"
UNITS, SERVICES = "Inference | Units", "Inference | Services"

_outputs: list[str] = []


def drift(*arguments: str, inventory: str = "inventories/sandbox.py") -> subprocess.CompletedProcess[str]:
    """The real command line, without a terminal; what it said is kept for the test of secrets."""
    command = [str(Path(sys.executable).parent / "gpuwright"), "drift", inventory, *arguments]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    _outputs.append(done.stdout + done.stderr)
    assert "Traceback" not in done.stderr
    return done


def document(*arguments: str, inventory: str = "inventories/sandbox.py") -> dict[str, Any]:
    """The JSON, whose exit code is the command's."""
    done = drift(*arguments, "--json", inventory=inventory)
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["exit_code"] == done.returncode, done.stderr
    return found


def name_of(operation: dict[str, Any]) -> str:
    return " | ".join(filter(None, (operation["role"], operation["operation"])))


def changed(host: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name_of(each): each for each in host["operations"] if each["status"] == "change"}


@pytest.fixture(scope="module")
def converged(sandbox: Sandbox) -> Sandbox:
    run = pyinfra("-y", *ONLY)
    assert run.returncode == 0, run.stdout
    return sandbox


def test_converged_hosts_are_as_declared_and_stay_untouched(converged: Sandbox) -> None:
    before = [fingerprint(converged, name) for name in HOSTS]
    left = "ls -A /tmp"
    temporary = [converged.exec(name, left).stdout for name in HOSTS]
    run = drift(*ONLY)
    assert run.returncode == 0, run.stdout + run.stderr
    lines = run.stdout.splitlines()
    assert [line.split()[0] for line in lines] == HOSTS
    assert all("  as declared  (" in line for line in lines)
    assert [fingerprint(converged, name) for name in HOSTS] == before
    assert [converged.exec(name, left).stdout for name in HOSTS] == temporary


@dataclass(frozen=True)
class Change:
    """A change by hand and its undoing; `named` are the operations, `says` is in the first one's words or diffs."""

    do: str
    undo: str
    named: frozenset[str]
    says: str


def edited(path: str, command: str) -> tuple[str, str]:
    """Change a file with a shell command, and put it back with its old time."""
    return f"cp -p {path} /root/kept && {command}", f"cp -p /root/kept {path} && systemctl daemon-reload"


CHANGES = {
    "unit file edited": Change(
        *edited(UNIT, f"sed -i 's/^Restart=.*/Restart=no/' {UNIT}"),
        frozenset({UNITS, SERVICES}),
        "-Restart=no",
    ),
    "unit stopped": Change(
        "systemctl stop gpuwright-chat",
        "systemctl start gpuwright-chat",
        frozenset({SERVICES}),
        "gpuwright-chat.service: inactive -> active",
    ),
    "unit disabled": Change(
        "systemctl disable -q gpuwright-chat",
        "systemctl enable -q gpuwright-chat",
        frozenset({SERVICES}),
        "gpuwright-chat.service: disabled -> enabled",
    ),
    "key file readable by all": Change(
        f"chmod 0644 {ENV}", f"chmod 0600 {ENV}", frozenset({"Inference | Keys and ids"}), "mode or owner"
    ),
    "stamp deleted": Change(
        f"mv {STAMP} /root/stamp", f"mv /root/stamp {STAMP}", frozenset({"Stamp"}), '+ "schema": 1,'
    ),
    "account given a shell": Change(
        "usermod --shell /bin/bash _gpuwright",
        "usermod --shell /usr/sbin/nologin _gpuwright",
        frozenset({"Inference | Account"}),
        "_gpuwright: shell /bin/bash -> no login",
    ),
    "container paused": Change(
        "docker pause gpuwright-chat",
        "docker unpause gpuwright-chat",
        frozenset({SERVICES}),
        "stands still -> restarted",
    ),
    "model written to at the same size": Change(
        f"touch -r {MODEL} /root/time && touch {MODEL}",
        f"touch -r /root/time {MODEL}",
        frozenset({"Model store | Models", SERVICES}),
        "was written to after it was verified",
    ),
    "package removed": Change(
        "DEBIAN_FRONTEND=noninteractive dpkg --purge --force-depends curl",
        "apt-get -q install -y --no-install-recommends curl",
        frozenset({"Base | Packages"}),
        "apt install curl",
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_by_hand_is_named(converged: Sandbox, change: Change) -> None:
    done = converged.exec("sbx1", change.do)
    assert done.returncode == 0, done.stderr
    try:
        found = document("--limit", "sbx1")
    finally:
        undone = converged.exec("sbx1", change.undo)
    assert undone.returncode == 0, undone.stderr
    (host,) = found["hosts"]
    assert (found["exit_code"], host["status"]) == (2, "differs")
    assert set(changed(host)) >= change.named
    said = [
        line
        for each in changed(host).values()
        for line in (*each["details"], *(diff["diff"] for diff in each["diffs"]))
    ]
    assert change.says in "\n".join(said)
    assert "\x1b" not in json.dumps(found)


def test_a_declared_key_that_daemon_json_lacks_is_named(converged: Sandbox) -> None:
    found = document("--limit", "sbx1", "--data", 'container_engine_daemon_json={"debug": true}')
    operations = changed(found["hosts"][0])
    assert {"Container engine | daemon.json", "Container engine | Engine", "Stamp"} <= set(operations)
    (diff,) = operations["Container engine | daemon.json"]["diffs"]
    assert diff["path"] == DAEMON
    assert '+  "debug": true,' in diff["diff"].splitlines()


def test_a_dropped_service_would_be_removed(converged: Sandbox) -> None:
    found = document("--limit", "sbx2", "--data", NO_SERVICES)
    operations = changed(found["hosts"][0])
    dropped = operations["Inference | Services no longer declared"]
    assert dropped["details"] == ["gpuwright-chat.service: no longer declared -> stopped and removed"]
    assert "systemctl disable --now --quiet gpuwright-chat.service" in dropped["commands"]
    assert "Stamp" in operations
    assert found["exit_code"] == 2


def test_it_agrees_with_a_dry_run_operation_by_operation(converged: Sandbox, tmp_path: Path) -> None:
    undo = "systemctl enable -q gpuwright-chat && " + edited(UNIT, "")[1]
    do = f"{edited(UNIT, f'echo >> {UNIT}')[0]} && systemctl disable -q gpuwright-chat"
    converged.exec("sbx1", do)
    try:
        report = tmp_path / "drift.xml"
        found = document("--limit", "sbx1", "--junitxml", str(report))
        dry = table(pyinfra("--dry", "--limit", "sbx1").stdout, "Detected changes:")
    finally:
        converged.exec("sbx1", undo)
    ours = {name_of(each): each["status"] == "change" for each in found["hosts"][0]["operations"]}
    assert ours == {name: columns[0] != "-" for name, columns in dry.items()}
    assert sum(ours.values()) >= 2
    _outputs.append(report.read_text())
    cases = ElementTree.parse(report).iter("testcase")
    assert {case.get("name"): case.find("failure") is not None for case in cases} == ours


def test_a_key_in_an_edited_file_is_masked(converged: Sandbox) -> None:
    do, undo = edited(CONF, f"grep LLAMA_API_KEY= {ENV} >> {CONF}")
    converged.exec("sbx2", do)
    try:
        found = document("--limit", "sbx2")
        _outputs.append(drift("--limit", "sbx2").stdout)
    finally:
        converged.exec("sbx2", undo)
    (diff,) = changed(found["hosts"][0])[UNITS]["diffs"]
    assert diff["path"] == CONF
    assert "-LLAMA_API_KEY=***" in diff["diff"].splitlines()


def test_a_fact_that_fails_is_not_an_answer(converged: Sandbox) -> None:
    converged.exec("sbx1", "mv /usr/bin/sha256sum /usr/bin/sha256sum.away")
    try:
        found = document(*ONLY)
    finally:
        converged.exec("sbx1", "mv /usr/bin/sha256sum.away /usr/bin/sha256sum")
    first, second = found["hosts"]
    assert (found["exit_code"], first["status"], second["status"]) == (1, "could_not_judge", "as_declared")
    assert any(reason.startswith(f"{UNITS}: FileStates could not be read (") for reason in first["reasons"])
    statuses = {name_of(each): each["status"] for each in first["operations"]}
    assert (statuses[UNITS], statuses["Base | Packages"]) == ("unknown", "ok")


def test_what_an_operation_refuses_is_not_judged(converged: Sandbox) -> None:
    do, undo = edited(DAEMON, f"echo '{{ not json' > {DAEMON}")
    converged.exec("sbx1", do)
    try:
        found = document("--limit", "sbx1")
    finally:
        converged.exec("sbx1", undo)
    (reason,) = found["hosts"][0]["reasons"]
    assert reason.startswith(f"Container engine | daemon.json: {DAEMON}: not JSON (")
    assert found["exit_code"] == 1


def test_refused_and_unreachable_hosts_are_apart_and_the_others_are_judged(
    converged: Sandbox, tmp_path: Path
) -> None:
    inventory = tmp_path / "sandbox.py"
    text = (REPOSITORY / "inventories" / "sandbox.py").read_text()
    nobody = '("nobody", {"ssh_hostname": "127.0.0.1", "ssh_port": 1, "ssh_connect_retries": 0})'
    inventory.write_text(f"{text}\nsandbox.append({nobody})\n")
    (tmp_path / "group_data").symlink_to(REPOSITORY / "inventories" / "group_data")
    change = "s/^VERSION_ID=.*/VERSION_ID=99/; s/^PRETTY_NAME=.*/PRETTY_NAME=Debian-99/"
    converged.exec(
        "sbx2", f"cp --remove-destination /usr/lib/os-release /etc/ && sed -i '{change}' /etc/os-release"
    )
    try:
        arguments = [*ONLY, "--limit", "nobody"]
        found = document(*arguments, inventory=str(inventory))
        run = drift(*arguments, inventory=str(inventory))
    finally:
        converged.exec("sbx2", "ln -sfn ../usr/lib/os-release /etc/os-release")
    assert found["exit_code"] == run.returncode == 1
    hosts = {host["host"]: host for host in found["hosts"]}
    assert hosts["sbx1"]["status"] == "as_declared"
    assert hosts["sbx2"]["reasons"][0].startswith("operating system: Debian-99; required: debian 12")
    assert hosts["nobody"]["reasons"][0].startswith("127.0.0.1:1: ")
    assert hosts["sbx2"]["operations"] == hosts["nobody"]["operations"] == []
    above, _, below = run.stdout.partition("Could not be judged:")
    assert "sbx1    as declared" in above
    assert "  sbx2  operating system: Debian-99" in below and "  nobody  127.0.0.1:1: " in below


def test_a_wrong_sudo_password_is_a_reason(converged: Sandbox) -> None:
    found = document("--limit", "sbx2", "--data", "_sudo_password=wrong-password-of-the-test")
    (reason,) = found["hosts"][0]["reasons"]
    assert reason.startswith("root access: ") and "wrong-password-of-the-test" not in reason
    assert found["exit_code"] == 1


def test_a_normal_run_repairs_what_is_left(converged: Sandbox) -> None:
    converged.exec("sbx1", f"echo '# by hand' >> {CONF}; chmod 0600 {UNIT}; systemctl stop gpuwright-chat")
    assert set(changed(document("--limit", "sbx1")["hosts"][0])) >= {UNITS, SERVICES}
    run = pyinfra("-y", *ONLY)
    assert run.returncode == 0, run.stdout
    found = document(*ONLY)
    assert found["exit_code"] == 0, found


def test_no_secret_was_said(converged: Sandbox) -> None:
    keys = [converged.exec(name, f"sed -n 's/^LLAMA_API_KEY=//p' {ENV}").stdout.strip() for name in HOSTS]
    (password,) = (host["sudo_password"] for host in converged.hosts if host["name"] == "sbx2")
    for secret in (*keys, str(password)):
        assert len(secret) > 8
        assert not any(secret in output for output in _outputs)
    assert len(_outputs) > 15
