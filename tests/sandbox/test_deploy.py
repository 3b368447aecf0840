"""From two bare hosts to models that answer, and every later change of mind: one story, told in order.

It begins with hosts that nobody has touched, so it is the first file of its tier.

What a run did is read past SSH, through `docker exec` and testinfra: a witness that shares no code with pyinfra.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host

from tests.sandbox.hosts import REPOSITORY, Sandbox

HOSTS = ["sbx1", "sbx2"]
NO_SERVICES = "inference_services=[]"
# id, start and mtime of everything that a run could have touched
FINGERPRINT = """
docker ps --all --no-trunc --format '{{.ID}} {{.Names}} {{.Status}}' 2>/dev/null | sed 's/Up .*/up/' | sort
systemctl show --property=ActiveEnterTimestampMonotonic docker.service gpuwright-chat.service
find /etc /usr/local /var/lib/gpuwright -xdev -type f -printf '%p %T@ %m %u %s\\n' 2>/dev/null | sort
stat --format='%Y %s' /var/log/dpkg.log 2>/dev/null
dpkg-query --show | sha256sum
cut -d: -f1 /etc/passwd
"""


def pyinfra(*arguments: str, inventory: str = "inventories/sandbox.py") -> subprocess.CompletedProcess[str]:
    """The real command line, without a terminal: a prompt would end it at once."""
    command = [str(Path(sys.executable).parent / "pyinfra"), inventory, "deploy.py", *arguments]
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
        check=False,
    )


def table(output: str, heading: str) -> dict[str, list[str]]:
    """The rows below a heading of pyinfra's: operation -> the words of its columns."""
    _, found, text = output.partition(heading)
    assert found, output
    rows = re.findall(r"^    (\S.*?)   +(.*\S) *$", text, flags=re.MULTILINE)
    return {
        name: re.split(r"  +", columns) for name, columns in rows if name not in ("Operation", "Grand total")
    }


def planned_changes(output: str) -> set[str]:
    """Operations with hosts under Change in a dry run's table."""
    return {name for name, columns in table(output, "Detected changes:").items() if columns[0] != "-"}


def executed_changes(output: str) -> set[str]:
    """Operations with a success in a run's results."""
    return {name for name, columns in table(output, "Results:").items() if columns[1] != "-"}


def fingerprint(sandbox: Sandbox, name: str) -> str:
    return sandbox.exec(name, FINGERPRINT).stdout


def ask(name: str, question: str = "What is the capital of France?") -> dict[str, object]:
    command = [str(Path(sys.executable).parent / "gpuwright"), "ask", name, question, "--json"]
    command += ["--inventory", "inventories/sandbox.py"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest, sandbox: Sandbox) -> Host:
    return testinfra.get_host(f"docker://{sandbox.container(request.param)}")


def test_a_dry_run_on_untouched_hosts_shows_the_whole_plan(sandbox: Sandbox) -> None:
    before = [fingerprint(sandbox, name) for name in HOSTS]
    run = pyinfra("--dry", "--diff")
    assert run.returncode == 0, run.stdout
    changes = planned_changes(run.stdout)
    assert {
        "Base | Packages",
        "Container engine | Engine",
        "Model store | Models",
        "Inference | Units",
    } <= changes
    assert "+ ExecStart=/usr/bin/docker run" in run.stdout
    assert "LLAMA_ARG_HOST=127.0.0.1" in run.stdout
    assert "gpuwright-chat.service: no unit file yet -> enabled" in run.stdout
    assert [fingerprint(sandbox, name) for name in HOSTS] == before


def test_a_run_converges_both_releases(sandbox: Sandbox) -> None:
    run = pyinfra("-y")
    assert run.returncode == 0, run.stdout
    assert "copied from this machine's engine" in run.stdout  # image_source local is said
    assert "--> Seconds by role:" in run.stdout


@pytest.mark.parametrize("name", HOSTS)
def test_the_model_answers(sandbox: Sandbox, name: str) -> None:
    answer = ask(name)
    assert "Paris" in str(answer["answer"])
    assert answer["model"] == "smollm2-135m-instruct"


def test_the_service_is_enabled_and_on_loopback_only(host: Host) -> None:
    assert host.service("gpuwright-chat").is_running
    assert host.service("gpuwright-chat").is_enabled
    assert host.socket("tcp://127.0.0.1:8080").is_listening
    listening = host.check_output("ss -Hltn 'sport = :8080'").split()
    assert "0.0.0.0:8080" not in listening and "[::]:8080" not in listening


def test_the_key_is_the_hosts_own_and_root_only(sandbox: Sandbox, host: Host) -> None:
    key_file = host.file("/etc/gpuwright/chat.env")
    assert (key_file.mode, key_file.user, key_file.group) == (0o600, "root", "root")
    keys = {sandbox.exec(name, "grep ^LLAMA_API_KEY= /etc/gpuwright/chat.env").stdout for name in HOSTS}
    assert len(keys) == len(HOSTS)
    assert host.run("curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8080/v1/models").stdout == "401"


def test_the_key_is_in_no_argument_list(sandbox: Sandbox, host: Host) -> None:
    key = host.check_output("sed -n 's/^LLAMA_API_KEY=//p' /etc/gpuwright/chat.env")
    assert len(key) == 64
    arguments = host.check_output("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '")
    assert "llama-server" in arguments
    assert key not in arguments


def test_the_container_is_hardened(host: Host) -> None:
    container = json.loads(host.check_output("docker inspect gpuwright-chat"))[0]
    declared, limits = container["Config"], container["HostConfig"]
    assert declared["User"].partition(":")[0] == host.check_output("id -u _gpuwright") != "0"
    assert limits["CapDrop"] == ["ALL"] and not limits["CapAdd"]
    assert limits["ReadonlyRootfs"] and not limits["Privileged"]
    assert "no-new-privileges" in limits["SecurityOpt"]
    assert limits["Memory"] > 0
    status = host.check_output("cat /proc/%s/status", str(container["State"]["Pid"]))
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)


def test_the_unit_passes_systemds_own_check(host: Host) -> None:
    verified = host.run("systemd-analyze verify --man=no /etc/systemd/system/gpuwright-chat.service")
    assert verified.rc == 0, verified.stderr
    assert "gpuwright-chat" not in verified.stderr


def test_a_second_run_changes_nothing(sandbox: Sandbox) -> None:
    before = [fingerprint(sandbox, name) for name in HOSTS]
    run = pyinfra("-y")
    assert run.returncode == 0, run.stdout
    assert executed_changes(run.stdout) == set()
    assert [fingerprint(sandbox, name) for name in HOSTS] == before
    dry = pyinfra("--dry")
    assert dry.returncode == 0
    assert planned_changes(dry.stdout) == set()


def test_another_model_is_one_setting(sandbox: Sandbox) -> None:
    expected = {"Model store | Models", "Inference | Units", "Inference | Services", "Stamp"}
    run = pyinfra("-y", "--data", "inference_model=ok")
    assert run.returncode == 0, run.stdout
    assert executed_changes(run.stdout) == expected
    assert [ask(name)["answer"] for name in HOSTS] == ["ok", "ok"]
    back = pyinfra("-y")
    assert executed_changes(back.stdout) == expected - {"Model store | Models"}  # it had stayed
    assert "Paris" in str(ask("sbx1")["answer"])


def test_a_stale_service_is_restarted_and_a_stopped_one_started(sandbox: Sandbox) -> None:
    sandbox.exec("sbx1", "sleep 1; touch /etc/gpuwright/chat.conf")
    sandbox.exec("sbx2", "systemctl disable --now gpuwright-chat.service")
    run = pyinfra("-y")
    assert executed_changes(run.stdout) == {"Inference | Services"}
    for name in HOSTS:
        state = sandbox.exec(
            name, "systemctl is-active gpuwright-chat; systemctl is-enabled gpuwright-chat"
        ).stdout
        assert state.split() == ["active", "enabled"]
    assert planned_changes(pyinfra("--dry").stdout) == set()


def test_daemon_json_is_merged_and_kept_when_it_is_not_json(sandbox: Sandbox) -> None:
    merge = """printf '%s' '{"debug": true, "log-driver": "json-file"}' > /etc/docker/daemon.json"""
    sandbox.exec("sbx1", merge)
    sandbox.exec("sbx2", "echo '{ not json' > /etc/docker/daemon.json")
    run = pyinfra("-y")
    assert run.returncode == 1
    assert "/etc/docker/daemon.json: not JSON" in run.stdout
    assert json.loads(sandbox.exec("sbx1", "cat /etc/docker/daemon.json").stdout) == {
        "debug": True,
        "log-driver": "local",
    }
    assert sandbox.exec("sbx2", "cat /etc/docker/daemon.json").stdout == "{ not json\n"
    sandbox.exec("sbx1", """echo '{"log-driver": "local"}' > /etc/docker/daemon.json""")
    sandbox.exec("sbx2", "rm /etc/docker/daemon.json")
    assert pyinfra("-y").returncode == 0
    assert planned_changes(pyinfra("--dry").stdout) == set()


def test_a_registry_that_does_not_answer_is_an_error(sandbox: Sandbox) -> None:
    """A reserved name that resolves nowhere stands for upstream's registry; the running service is left alone."""
    before = fingerprint(sandbox, "sbx1")
    image = f"registry.invalid/llama.cpp@sha256:{'0' * 64}"
    settings = ["--data", "inference_image_source=registry", "--data", f"inference_image={image}"]
    run = pyinfra("-y", "--limit", "sbx1", *settings)
    assert run.returncode == 1
    assert f"image {image}: no answer or no such image; required: a registry that has it." in run.stdout
    assert fingerprint(sandbox, "sbx1") == before


def test_a_killed_engine_comes_back_by_itself(sandbox: Sandbox) -> None:
    sandbox.exec("sbx1", "pkill --signal KILL llama-server")
    wait = (
        "for i in $(seq 60); do systemctl is-active --quiet gpuwright-chat && exit 0; sleep 1; done; exit 1"
    )
    assert sandbox.exec("sbx1", f"sleep 3; {wait}").returncode == 0
    assert "Paris" in str(ask("sbx1")["answer"])


def test_the_model_answers_after_a_reboot_without_a_deploy(sandbox: Sandbox) -> None:
    restarted = subprocess.run(
        [str(Path(sys.executable).parent / "gpuwright"), "sandbox", "restart", "sbx2"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert restarted.returncode == 0, restarted.stderr
    wait = (
        "for i in $(seq 120); do systemctl is-active --quiet gpuwright-chat && exit 0; sleep 1; done; exit 1"
    )
    assert sandbox.exec("sbx2", wait).returncode == 0
    assert "Paris" in str(ask("sbx2")["answer"])


def test_a_dropped_service_is_shown_then_stopped_and_removed(sandbox: Sandbox) -> None:
    dry = pyinfra("--dry", "--diff", "--data", NO_SERVICES)
    assert "gpuwright-chat.service: no longer declared -> stopped and removed" in dry.stdout
    assert "Inference | Services no longer declared" in planned_changes(dry.stdout)
    run = pyinfra("-y", "--data", NO_SERVICES)
    assert run.returncode == 0, run.stdout
    left = "ls /etc/systemd/system/gpuwright-* /etc/gpuwright/chat.*; docker ps -aq; ls /var/lib/gpuwright/models"
    for name in HOSTS:
        # models stay, and the key, out of use
        kept = ["/etc/gpuwright/chat.env.removed", "ok", "smollm2-135m-instruct"]
        assert sandbox.exec(name, left).stdout.split() == kept
        assert sandbox.exec(name, "systemctl is-active gpuwright-chat").stdout.strip() == "inactive"
    assert planned_changes(pyinfra("--dry", "--data", NO_SERVICES).stdout) == set()


def test_refused_and_unreachable_hosts_fail_alone(sandbox: Sandbox, tmp_path: Path) -> None:
    """sbx3 says that it is another system, a fourth host does not answer; the others converge; nobody is asked."""
    up = [str(Path(sys.executable).parent / "gpuwright"), "sandbox", "up", "--hosts", "3", "--os", "debian12"]
    subprocess.run(up, cwd=REPOSITORY, check=True, capture_output=True)
    third = replace(sandbox, hosts=json.loads((sandbox.state_dir / "sandbox.json").read_text())["hosts"])
    change = "s/^VERSION_ID=.*/VERSION_ID=99/; s/^PRETTY_NAME=.*/PRETTY_NAME=Debian-99/"
    third.exec(
        "sbx3", f"cp --remove-destination /usr/lib/os-release /etc/ && sed -i '{change}' /etc/os-release"
    )
    before = fingerprint(third, "sbx3")
    inventory = tmp_path / "sandbox.py"
    text = (REPOSITORY / "inventories" / "sandbox.py").read_text()
    nobody = '("nobody", {"ssh_hostname": "127.0.0.1", "ssh_port": 1, "ssh_connect_retries": 0})'
    inventory.write_text(f"{text}\nsandbox.append({nobody})\n")
    (tmp_path / "group_data").symlink_to(REPOSITORY / "inventories" / "group_data")
    for arguments in (["--dry"], ["-y"]):
        run = pyinfra(*arguments, inventory=str(inventory))
        assert run.returncode == 1, run.stdout
        assert "Traceback" not in run.stdout
        refusal = run.stdout.rpartition("Refused hosts, nothing was changed on them:")[2]
        assert "[sbx3] operating system: Debian-99; required: debian 12" in refusal
        assert "[nobody]" in run.stdout
    assert {"Inference | Services", "Stamp"} <= executed_changes(run.stdout)
    assert all("Paris" in str(ask(name)["answer"]) for name in HOSTS)
    assert fingerprint(third, "sbx3") == before
