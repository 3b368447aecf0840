"""The sandbox's vLLM: two workers answer behind the hardening of a service, and its own parser reads arguments."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container

from gpuwright.sandbox import engine
from tests.fixtures import make_ok_hf
from tests.sandbox.vllm_parser import vllm_refusals, vllm_unknown_variables

pytestmark = pytest.mark.full

MODEL = "/models/ok"
SERVE = (
    MODEL,
    "--served-model-name",
    "ok",
    "--host",
    "127.0.0.1",
    "--port",
    "8000",
    "--max-model-len",
    "512",
)
SMALL = ("--kv-cache-memory-bytes", "64M", "-tp", "2")
ASK = """
import json, sys, urllib.request
body = json.dumps({"model": "ok", "messages": [{"role": "user", "content": "Hello?"}]}).encode()
url, kind = "http://127.0.0.1:8000/v1/chat/completions", {"Content-Type": "application/json"}
request = urllib.request.Request(url, body, kind)
print(urllib.request.urlopen(request, timeout=120).read().decode())
"""
LIMIT_S = 900  # a start takes 30 s on two free cores


@pytest.fixture(scope="module")
def client() -> docker.DockerClient:
    return engine.connect()


@pytest.fixture
def server(client: docker.DockerClient, vllm_cpu: str, tmp_path: Path) -> Iterator[Container]:
    """`vllm serve` on the loopback of a container of its own, as a stranger without rights."""
    model = make_ok_hf.write(tmp_path / "ok")
    container = client.containers.run(
        vllm_cpu,
        [*SERVE, *SMALL],
        detach=True,
        network_mode="none",
        user="12345:12345",
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        read_only=True,
        tmpfs={"/tmp": ""},
        shm_size="1g",
        mem_limit="6g",
        environment={"HOME": "/tmp", "HF_HUB_OFFLINE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"},
        volumes={str(model): {"bind": MODEL, "mode": "ro"}},
    )
    try:
        yield container
    finally:
        container.remove(force=True)


def answer(container: Container) -> str:
    """The first completion, as soon as there is one."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        container.reload()
        assert container.status == "running", container.logs(tail=100).decode()
        code, output = container.exec_run(["python", "-c", ASK])
        if code == 0:
            return str(json.loads(output)["choices"][0]["message"]["content"])
        time.sleep(3)
    raise AssertionError(container.logs(tail=100).decode())


def test_two_workers_answer_and_stop(server: Container) -> None:
    assert answer(server) == "ok"
    processes = server.top(ps_args="-eo pid,args")["Processes"]
    assert sum("VLLM::Worker_TP" in words[-1] for words in processes) == 2
    server.stop(timeout=60)
    assert server.wait()["StatusCode"] == 0


def test_vllm_tells_arguments_that_it_knows(client: docker.DockerClient, vllm_cpu: str) -> None:
    accepted, flag, value, choice, absent, short, together = vllm_refusals(
        client,
        vllm_cpu,
        [*SERVE, *SMALL],
        [MODEL, "--swap-space", "4"],
        [MODEL, "-tp", "two"],
        [MODEL, "--kv-cache-dtype", "fp7"],
        [MODEL, "--port"],
        [MODEL, "--max-model-le", "512"],
        [MODEL, "--enable-auto-tool-choice"],
    )
    assert accepted is None
    assert flag == "unrecognized arguments: --swap-space 4"
    assert value == "argument --tensor-parallel-size/-tp: invalid int value: 'two'"
    assert choice is not None and choice.startswith("argument --kv-cache-dtype: invalid choice: 'fp7'")
    assert absent == "argument --port: expected one argument"
    assert short == "unrecognized arguments: --max-model-le 512"
    assert together == "Error: --enable-auto-tool-choice requires --tool-call-parser"


def test_vllm_tells_variables_that_it_knows(client: docker.DockerClient, vllm_cpu: str) -> None:
    names = ["VLLM_CACHE_ROOT", "VLLM_SLEEP_WHEN_IDLE", "HF_HUB_OFFLINE", "VLLM_ATTENTION_BACKEND"]
    assert vllm_unknown_variables(client, vllm_cpu, names) == [
        "VLLM_SLEEP_WHEN_IDLE",
        "VLLM_ATTENTION_BACKEND",
    ]
