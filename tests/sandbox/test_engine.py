"""An engine that others use too: their containers, their daemon.json and their kind of Docker are respected."""

from __future__ import annotations

import json

from tests.sandbox.hosts import Sandbox
from tests.sandbox.test_deploy import executed_changes, planned_changes, pyinfra

HOST = "sbx1"
ONLY = ("--limit", HOST)
FILE = "/etc/docker/daemon.json"


def test_nobodys_container_is_stopped_by_a_restart(sandbox: Sandbox) -> None:
    assert pyinfra("-y", *ONLY).returncode == 0
    image = "$(docker images --quiet | head -n 1)"
    sandbox.exec(
        HOST, f"docker run --detach --name training --entrypoint /usr/bin/llama-server {image} --port 9999"
    )
    change = ("--data", 'container_engine_daemon_json={"debug": true}')
    try:
        dry = pyinfra("--dry", "--diff", *ONLY, *change).stdout
        assert "docker.service: older than what it was started from -> restarted" in dry
        assert "gpuwright-chat.service: older than what it was started from -> restarted" in dry
        refused = pyinfra("-y", *ONLY, *change)
        assert refused.returncode == 1
        assert "must restart, while training run on it" in refused.stdout
        assert sandbox.exec(HOST, "docker inspect --format '{{.State.Running}}' training").stdout == "true\n"
        sandbox.exec(HOST, "docker rm --force training")
        allowed = pyinfra("-y", *ONLY, *change)
        assert allowed.returncode == 0, allowed.stdout
        assert "Container engine | Engine" in executed_changes(allowed.stdout)
        assert planned_changes(pyinfra("--dry", *ONLY, *change).stdout) == set()
    finally:
        sandbox.exec(HOST, "docker rm --force training")
        sandbox.exec(HOST, f"sed -i 's/\"debug\": true,//' {FILE}")
    assert pyinfra("-y", *ONLY).returncode == 0


def test_daemon_json_keeps_its_mode_its_keys_and_its_place(sandbox: Sandbox) -> None:
    """A link to a file that only root reads, with a log driver of its owner's and nothing declared."""
    real = "/etc/docker/real.json"
    content = {"log-driver": "json-file", "log-opts": {"tag": "x"}}
    sandbox.exec(HOST, f"echo '{json.dumps(content)}' > {real}; chmod 0600 {real}; ln -sf {real} {FILE}")
    try:
        unchanged = pyinfra("-y", *ONLY, "--data", "container_engine_daemon_json={}")
        assert unchanged.returncode == 0, unchanged.stdout
        assert json.loads(sandbox.exec(HOST, f"cat {FILE}").stdout) == content
        merged = pyinfra("-y", *ONLY, "--data", 'container_engine_daemon_json={"debug": true}')
        assert merged.returncode == 0, merged.stdout
        assert json.loads(sandbox.exec(HOST, f"cat {FILE}").stdout) == content | {"debug": True}
        assert sandbox.exec(HOST, f"readlink {FILE}; stat -c %a {real}").stdout == f"{real}\n600\n"
    finally:
        sandbox.exec(HOST, f"rm -f {FILE} {real} {real}.before-gpuwright")
    assert pyinfra("-y", *ONLY).returncode == 0


def test_another_kind_of_docker_is_refused(sandbox: Sandbox) -> None:
    sandbox.exec(HOST, "mkdir -p /snap/bin && touch /snap/bin/docker")
    try:
        refused = pyinfra("-y", *ONLY)
    finally:
        sandbox.exec(HOST, "rm -r /snap")
    assert refused.returncode == 1
    assert "container engine: the host has Docker from a snap (snap remove docker)" in refused.stdout


def test_a_service_of_somebody_elses_with_our_prefix_stays(sandbox: Sandbox) -> None:
    unit = "/etc/systemd/system/gpuwright-exporter.service"
    sandbox.exec(HOST, f"printf '[Service]\\nExecStart=/bin/true\\n' > {unit}")
    try:
        assert planned_changes(pyinfra("--dry", *ONLY).stdout) == set()
    finally:
        sandbox.exec(HOST, f"rm -f {unit}")


def test_a_dropped_service_that_comes_back_keeps_its_key(sandbox: Sandbox) -> None:
    key = "grep LLAMA_API_KEY /etc/gpuwright/chat.env"
    before = sandbox.exec(HOST, key).stdout
    assert pyinfra("-y", *ONLY, "--data", "inference_services=[]").returncode == 0
    assert sandbox.exec(HOST, key).returncode != 0
    assert pyinfra("-y", *ONLY).returncode == 0
    assert sandbox.exec(HOST, key).stdout == before != ""


def test_services_may_swap_their_ports(sandbox: Sandbox) -> None:
    def services(chat: int, other: int) -> tuple[str, str]:
        declared = [
            {"name": "chat", "model": "ok", "port": chat},
            {"name": "other", "model": "ok", "port": other},
        ]
        return "--data", f"inference_services={json.dumps(declared)}"

    try:
        assert pyinfra("-y", *ONLY, *services(8080, 8081)).returncode == 0
        swapped = pyinfra("-y", *ONLY, *services(8081, 8080))
        assert swapped.returncode == 0, swapped.stdout
        assert planned_changes(pyinfra("--dry", *ONLY, *services(8081, 8080)).stdout) == set()
    finally:
        assert pyinfra("-y", *ONLY).returncode == 0
