"""`gpuwright verify` on converged hosts: all is well, then single changes by hand, each named and repaired.

With --update-golden the readings that tests/unit/test_verify_checks.py judges are recorded anew.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from gpuwright.connection import connect
from gpuwright.inventory import load
from gpuwright.verify.host import read, replan
from tests.sandbox.hosts import REPOSITORY, Sandbox
from tests.sandbox.test_deploy import pyinfra

HOSTS = ("sbx1", "sbx2")
RECORDING = REPOSITORY / "tests" / "fixtures" / "verify_sbx1.txt"
FACTS = REPOSITORY / "tests" / "fixtures" / "verify_sbx1_facts.json"
MODEL = "/var/lib/gpuwright/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf"
DEPLOY = "deploy"
# Everything that verify printed or wrote here, to be searched for secrets at the end.
outputs: list[str] = []


@dataclass(frozen=True)
class Change:
    """Somebody's change, the check that must name it, and what repairs it: a normal run, or a command before it."""

    name: str
    command: str
    check: str
    repair: str = DEPLOY


# Two hosts, so two changes at a time. Those with a command of their own are what a normal run leaves.
CHANGES = (
    (
        Change(
            "a managed file edited",
            "echo LLAMA_ARG_CTX_SIZE=64 >> /etc/gpuwright/chat.conf",
            "files.as-rendered",
        ),
        Change("a key file for all to read", "chmod 0644 /etc/gpuwright/chat.env", "keys.private"),
    ),
    (
        Change("a unit disabled", "systemctl disable --quiet gpuwright-chat", "unit.enabled"),
        Change("a unit stopped", "systemctl stop gpuwright-chat", "unit.active"),
    ),
    (
        Change("no stamp", "rm /etc/gpuwright/applied.json", "stamp.plan"),
        Change("a file touched after the start", "touch /etc/gpuwright/chat.conf", "unit.fresh"),
    ),
    (
        Change("a shell for the account", "usermod --shell /bin/sh _gpuwright", "account.no-login"),
        Change(
            "the model corrupted, its size kept",
            f"printf x | dd of={MODEL} bs=1 seek=90000000 conv=notrunc status=none",
            "model.digests",
        ),
    ),
    (
        Change(
            "a privileged container in its place",
            "image=$(docker inspect --format '{{.Image}}' gpuwright-chat) && docker rename gpuwright-chat aside && "
            # created only: a host that is itself a container may not give these powers away
            "docker create --privileged --network none --env-file /etc/gpuwright/chat.conf "
            "--env-file /etc/gpuwright/chat.env --volume /var/lib/gpuwright/models:/var/lib/gpuwright/models:ro "
            "--name gpuwright-chat $image",
            "container.privileged",
        ),
        Change(
            "another listener on the port",
            "address=$(hostname -I | cut -d' ' -f1) && setsid perl -MIO::Socket::INET -e '"
            '$s = IO::Socket::INET->new(LocalAddr => "$ARGV[0]:8080", Listen => 1, ReuseAddr => 1) or die $!; sleep 600'
            "' $address >/dev/null 2>&1 </dev/null & sleep 1",
            "service.port-loopback",
            "pkill perl",
        ),
    ),
    (
        Change(
            "a drop-in for the unit",
            "mkdir /etc/systemd/system/gpuwright-chat.service.d && printf '[Service]\\nNice=5\\n' "
            "> /etc/systemd/system/gpuwright-chat.service.d/a.conf && systemctl daemon-reload",
            "unit.no-drop-ins",
            "systemctl revert gpuwright-chat.service",
        ),
        Change(
            "a unit that nobody declares",
            "cp /etc/systemd/system/gpuwright-chat.service /etc/systemd/system/gpuwright-old.service",
            "units.only-declared",
        ),
    ),
)


def verify(*arguments: str, inventory: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The real command line; what it prints is kept for the search for secrets."""
    command = [
        str(Path(sys.executable).parent / "gpuwright"),
        "verify",
        str(inventory or "inventories/sandbox.py"),
    ]
    limits = [] if inventory else [word for name in HOSTS for word in ("--limit", name)]
    done = subprocess.run(
        [*command, *limits, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    outputs.extend([done.stdout, done.stderr])
    assert "Traceback" not in done.stderr, done.stderr
    return done


def failed(done: subprocess.CompletedProcess[str]) -> dict[str, set[str]]:
    """Names of the failed checks by host, from `--json`."""
    hosts = json.loads(done.stdout)["hosts"]
    return {host["host"]: {v["check"] for v in host["verdicts"] if v["status"] == "fail"} for host in hosts}


@pytest.fixture(scope="module")
def converged(sandbox: Sandbox) -> Sandbox:
    deploy()
    return sandbox


def deploy() -> None:
    run = pyinfra("-y", *(word for name in HOSTS for word in ("--limit", name)))
    assert run.returncode == 0, run.stdout


def test_converged_hosts_are_as_declared(converged: Sandbox, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    done = verify("--junitxml", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": as declared (") == len(HOSTS)
    assert "The capital of France is Paris." in done.stdout
    assert "tokens/s" in done.stdout
    suites = ElementTree.parse(report).getroot()
    assert {suite.get("name"): (suite.get("failures"), suite.get("errors")) for suite in suites} == {
        name: ("0", "0") for name in HOSTS
    }
    outputs.append(report.read_text())
    statuses = {
        v["status"] for host in json.loads(verify("--json").stdout)["hosts"] for v in host["verdicts"]
    }
    assert statuses == {"pass", "skip"}


def test_what_was_not_hashed_is_unknown(converged: Sandbox) -> None:
    done = verify("--fast", "--json")
    assert done.returncode == 1
    unknown = [
        verdict["check"]
        for host in json.loads(done.stdout)["hosts"]
        for verdict in host["verdicts"]
        if verdict["status"] == "unknown"
    ]
    assert unknown == ["model.digests"] * len(HOSTS)


@pytest.mark.parametrize("changes", CHANGES, ids=lambda pair: ", ".join(change.name for change in pair))
def test_a_single_change_is_named_and_repaired(converged: Sandbox, changes: tuple[Change, Change]) -> None:
    for name, change in zip(HOSTS, changes, strict=True):
        made = converged.exec(name, change.command)
        assert made.returncode == 0, f"{change.name}: {made.stderr}"
    done = verify("--json")
    assert done.returncode == 2, done.stdout + done.stderr
    found = failed(done)
    for name, change in zip(HOSTS, changes, strict=True):
        assert change.check in found[name], f"{change.name}: {found[name]}"
        if change.repair != DEPLOY:
            repaired = converged.exec(name, change.repair)
            assert repaired.returncode == 0, f"{change.name}: {repaired.stderr}"
    deploy()
    again = verify("--json")
    assert again.returncode == 0, {name: sorted(checks) for name, checks in failed(again).items()}


def test_a_new_declaration_is_not_the_stamps(converged: Sandbox, tmp_path: Path) -> None:
    """The hosts are as they were; what is declared for them is not."""
    converged.exec("sbx1", "rm -rf /var/lib/gpuwright/models/ok")  # a test before this one may have left it
    inventory = written(tmp_path, 'for _name, _data in sandbox: _data["base_time_sync"] = "none"')
    done = verify("--json", "--limit", "sbx1", inventory=inventory)
    assert done.returncode == 0, failed(done)  # a container has no clock of its own: the plan is the same
    inventory = written(tmp_path, 'for _name, _data in sandbox: _data["inference_model"] = "ok"')
    done = verify("--json", "--limit", "sbx1", inventory=inventory)
    assert done.returncode == 2
    expected = {"stamp.plan", "model.source", "model.sizes", "service.model-served", "service.completion"}
    assert expected <= failed(done)["sbx1"]


def test_hosts_that_cannot_be_judged_are_told_apart(converged: Sandbox, tmp_path: Path) -> None:
    inventory = written(
        tmp_path,
        "sandbox = sandbox[:2]",
        'sandbox.append(("nobody", {"ssh_hostname": "127.0.0.1", "ssh_port": 1, "ssh_connect_retries": 0}))',
        'sandbox.append(("typo", {**sandbox[0][1], "inference_modell": "ok"}))',
        'sandbox.append(("refused", {**sandbox[0][1], "inference_model": "none-such"}))',
    )
    done = verify(inventory=inventory)
    assert done.returncode == 1
    assert "nobody: could not judge" in done.stdout
    assert "Did you mean inference_model?" in done.stdout
    assert "neither in the catalogue nor declared" in done.stdout
    assert done.stdout.count(": as declared (") == len(HOSTS)
    assert "2 as declared, 3 could not judge (nobody, typo, refused)" in done.stdout


def test_wrong_usage() -> None:
    assert verify("--limit", "sbx9").returncode == 64
    assert verify("--jobs", "0").returncode == 64
    assert verify("--no-such-option").returncode == 64


def test_acceptance_has_hosts_as_ids_and_passes(converged: Sandbox, tmp_path: Path) -> None:
    inventory = written(tmp_path, "sandbox = sandbox[:2]")
    report = tmp_path / "acceptance.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "tests/acceptance",
        f"--inventory={inventory}",
        f"--junitxml={report}",
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)
    outputs.extend([done.stdout, done.stderr, report.read_text()])
    assert done.returncode == 0, done.stdout
    names = [case.get("name", "") for case in ElementTree.parse(report).getroot().iter("testcase")]
    assert {name.partition("[")[2].rstrip("]").rpartition("-")[2] for name in names} == set(HOSTS)


def test_no_secret_was_shown(converged: Sandbox) -> None:
    secrets = [str(host["sudo_password"]) for host in converged.hosts if host["sudo_password"]]
    secrets += [
        converged.exec(name, "sed -n 's/^LLAMA_API_KEY=//p' /etc/gpuwright/chat.env").stdout.strip()
        for name in HOSTS
    ]
    assert len(secrets) > len(HOSTS)
    assert len(outputs) > 2 * len(CHANGES)
    for secret in secrets:
        assert len(secret) >= 16
        assert not [output for output in outputs if secret in output]


def test_the_recorded_readings_have_todays_sections(converged: Sandbox, pytestconfig: pytest.Config) -> None:
    """What the unit tests judge was read by today's scripts."""
    entry = load(converged.inventory).host("sbx1")
    with connect(entry) as connection:
        facts, plan = replan(connection, entry)
        readings = read(connection, facts, plan, fast=False)
    if pytestconfig.getoption("--update-golden"):
        sections = readings.sections.items()
        frames = [f"#gpuwright begin {name}\n{text}\n#gpuwright end {name} 0\n" for name, text in sections]
        RECORDING.write_text("".join(frames))
        FACTS.write_text(facts.to_json() + "\n")
    recorded = RECORDING.read_text()
    assert [name for name in readings.sections if f"#gpuwright begin {name}\n" not in recorded] == []


def written(directory: Path, *lines: str) -> Path:
    """The sandbox's inventory with lines of one's own, beside its group_data."""
    text = (REPOSITORY / "inventories" / "sandbox.py").read_text()
    path = directory / "sandbox.py"
    path.write_text("\n".join([text, *lines, ""]))
    if not (directory / "group_data").exists():
        (directory / "group_data").symlink_to(REPOSITORY / "inventories" / "group_data")
    return path
