"""Real vLLM beside a llama-server on one host, by the same role: two ranks, one smoke assertion for both engines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures import make_ok_hf
from tests.hub import hub_server
from tests.sandbox.hosts import Sandbox
from tests.sandbox.test_deploy import planned_changes, pyinfra
from tests.sandbox.test_verify import failed, verify, written

pytestmark = pytest.mark.full

HOST = "sbx1"
ONLY = ("--limit", HOST)
MODEL = {"name": "ok-hf", "repo": "lab/ok", "revision": "main"}
SMALL = {"name": "small", "model": "ok", "port": 8081}


@pytest.fixture(scope="module")
def settings(
    sandbox: Sandbox, gateway: str, vllm_cpu: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, object]]:
    """What is declared; a hub of our own has the model's files."""
    folder = make_ok_hf.write(tmp_path_factory.mktemp("model") / "ok")
    files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    chat = {
        **{
            "name": "chat",
            "engine": "vllm",
            "model": "ok-hf",
            "port": 8080,
            "context": 512,
            "image": vllm_cpu,
        },
        **{"tensor_parallel": 2, "memory_gib": 8, "start_timeout_s": 1800},
    }
    with hub_server({"lab/ok": files}, gateway) as hub, pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", hub.url)
        yield {
            "inference_services": [chat, SMALL],
            "model_store_models": [MODEL, {"name": "ok", "path": "tests/fixtures/ok.gguf"}],
        }
        assert pyinfra("-y", *ONLY).returncode == 0


def data(settings: dict[str, object]) -> tuple[str, ...]:
    return tuple(word for key, value in settings.items() for word in ("--data", f"{key}={json.dumps(value)}"))


def test_both_engines_answer_the_same_question(
    sandbox: Sandbox, settings: dict[str, object], tmp_path: Path
) -> None:
    done = pyinfra("-y", *ONLY, *data(settings))
    assert done.returncode == 0, done.stdout
    for name, key, port in (("chat", "VLLM_API_KEY", 8080), ("small", "LLAMA_API_KEY", 8081)):
        question = {"messages": [{"role": "user", "content": "Say ok."}], "max_tokens": 4, "temperature": 0}
        body = json.dumps({**question, "model": "ok-hf" if name == "chat" else "ok"})
        answer = sandbox.exec(
            HOST,
            f"key=$(sed -n 's/^{key}=//p' /etc/gpuwright/{name}.env); curl --silent --max-time 120 "
            f'-H "Authorization: Bearer $key" -H "Content-Type: application/json" -d \'{body}\' '
            f"http://127.0.0.1:{port}/v1/chat/completions",
        ).stdout
        assert json.loads(answer)["choices"][0]["message"]["content"] == "ok", answer
    ranks = sandbox.exec(HOST, "docker top gpuwright-chat -eo pid,args | grep -c 'VLLM::Worker_TP'").stdout
    assert ranks.strip() == "2"
    assert planned_changes(pyinfra("--dry", *ONLY, *data(settings)).stdout) == set()
    lines = [f"for _name, _data in sandbox: _data[{key!r}] = {value!r}" for key, value in settings.items()]
    judged = verify("--json", "--fast", *ONLY, inventory=written(tmp_path, *lines))
    assert failed(judged)[HOST] == set(), judged.stdout


def test_a_killed_rank_ends_the_service_and_it_comes_back(
    sandbox: Sandbox, settings: dict[str, object]
) -> None:
    unit = "gpuwright-chat.service"
    sandbox.exec(
        HOST,
        "kill -9 $(docker top gpuwright-chat -eo pid,args | awk '/VLLM::Worker_TP1/ { print $1; exit }')",
    )
    waited = sandbox.exec(
        HOST,
        f"for second in $(seq 900); do [ $(systemctl show --property=NRestarts --value {unit}) -ge 1 ] && "
        f"systemctl is-active --quiet {unit} && exit 0; sleep 1; done; journalctl --unit {unit} --lines 30; exit 1",
    )
    assert waited.returncode == 0, waited.stdout
