"""Several services on one host: they are killed, out of memory, without room, and stopped while they answer.

A real llama-server on the CPU behind real units; nothing here needs a GPU.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.sandbox.hosts import Sandbox
from tests.sandbox.test_deploy import planned_changes, pyinfra
from tests.sandbox.test_verify import failed, verify, written

HOST = "sbx1"
ONLY = ("--limit", HOST)
CHAT = {"name": "chat", "port": 8080, "drain_s": 120, "out_of_memory": ["context"]}
SMALL = {"name": "small", "model": "ok", "port": 8081}
# More than any machine has: llama-server's own allocation fails, as cudaMalloc does on a GPU.
# Seconds of work, and less than a minute on a busy machine.
LONG = 200
HUNGRY = {**CHAT, "arguments": ["--ctx-size", "268435456"]}


def declared(*services: dict[str, object]) -> tuple[str, str]:
    return "--data", f"inference_services={json.dumps(services)}"


@pytest.fixture(scope="module")
def served(sandbox: Sandbox) -> Iterator[Sandbox]:
    try:
        done = pyinfra("-y", *ONLY, *declared(CHAT, SMALL))
        assert done.returncode == 0, done.stdout
        yield sandbox
    finally:
        # As other tests expect it: one service.
        assert pyinfra("-y", *ONLY).returncode == 0


def ask(sandbox: Sandbox, name: str, port: int, tokens: int = 8) -> str:
    """The answer of a service on the host, by curl there; "" where there is none."""
    question = {
        "messages": [{"role": "user", "content": "Count."}],
        "max_tokens": tokens,
        "ignore_eos": tokens > 8,
    }
    done = sandbox.exec(
        HOST,
        f"key=$(sed -n 's/^LLAMA_API_KEY=//p' /etc/gpuwright/{name}.env); curl --silent --max-time 120 "
        f"-H \"Authorization: Bearer $key\" -d '{json.dumps(question)}' http://127.0.0.1:{port}/v1/chat/completions",
    )
    return done.stdout


def answers(sandbox: Sandbox, name: str, port: int, seconds: float = 90) -> bool:
    """Whether it gives a completion before the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if '"completion_tokens"' in ask(sandbox, name, port):
            return True
        time.sleep(1)
    return False


def state(sandbox: Sandbox, unit: str, name: str = "ActiveState") -> str:
    return sandbox.exec(HOST, f"systemctl show --property={name} --value {unit}").stdout.strip()


def kill(sandbox: Sandbox, name: str) -> None:
    """SIGKILL to the engine itself, inside its container."""
    done = sandbox.exec(HOST, f"kill -9 $(docker inspect --format '{{{{.State.Pid}}}}' gpuwright-{name})")
    assert done.returncode == 0, done.stderr


def test_two_services_answer_and_a_second_run_changes_nothing(served: Sandbox) -> None:
    assert answers(served, "chat", 8080) and '"ok"' in ask(served, "small", 8081)
    assert planned_changes(pyinfra("--dry", *ONLY, *declared(CHAT, SMALL)).stdout) == set()


def test_a_stop_lets_the_answer_that_is_being_given_end(served: Sandbox) -> None:
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(ask, served, "chat", 8080, LONG)
        end = time.monotonic() + 60
        busy = "curl --silent -H \"Authorization: Bearer $(sed -n 's/^LLAMA_API_KEY=//p' /etc/gpuwright/chat.env)\" "
        while (
            "requests_processing 1" not in served.exec(HOST, f"{busy} http://127.0.0.1:8080/metrics").stdout
        ):
            assert time.monotonic() < end and not answer.done(), "it never became busy"
        stopped = served.exec(HOST, "systemctl stop gpuwright-chat.service")
        # As the tests after this one want it, whatever came of it.
        assert served.exec(HOST, "systemctl start gpuwright-chat.service").returncode == 0
        assert stopped.returncode == 0
        assert f'"completion_tokens":{LONG}' in answer.result()


def test_killed_under_load_it_is_back_by_itself(served: Sandbox) -> None:
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(ask, served, "chat", 8080, LONG)
        time.sleep(1)
        kill(served, "chat")
        assert f'"completion_tokens":{LONG}' not in answer.result()
    assert answers(served, "chat", 8080)
    assert int(state(served, "gpuwright-chat.service", "NRestarts")) >= 1


def test_killed_again_and_again_it_gives_up_and_says_so(served: Sandbox) -> None:
    unit = "gpuwright-small.service"
    served.exec(HOST, f"systemctl reset-failed {unit}; systemctl restart {unit}")
    for _ in range(5):
        assert answers(served, "small", 8081)
        kill(served, "small")
        time.sleep(1)
    end = time.monotonic() + 60
    while state(served, unit) != "failed":
        assert time.monotonic() < end, state(served, unit)
        time.sleep(1)
    assert state(served, unit, "Result") in ("start-limit-hit", "exit-code")
    assert (
        "repeated too quickly"
        in served.exec(HOST, f"journalctl --unit {unit} --lines 30 --output cat").stdout
    )
    assert pyinfra("-y", *ONLY, *declared(CHAT, SMALL)).returncode == 0
    assert answers(served, "small", 8081)


def test_the_gate_names_who_holds_the_memory(served: Sandbox) -> None:
    """A real process holds memory; the gate is asked for all that is available and more."""
    done = served.exec(
        HOST,
        "perl -e '$x = \"x\" x 400_000_000; sleep 60' & holder=$!; sleep 3; "
        "available=$(awk '/MemAvailable/ { print $2 }' /proc/meminfo); "
        "GPUWRIGHT_NAME=chat GPUWRIGHT_RAM_BYTES=$((available * 1024 + 8589934592)) /usr/local/lib/gpuwright/gate; "
        'echo "ended with $?"; kill $holder; GPUWRIGHT_NAME=chat GPUWRIGHT_RAM_BYTES=1048576 '
        '/usr/local/lib/gpuwright/gate; echo "then with $?"',
    )
    assert "ended with 1" in done.stdout and "then with 0" in done.stdout
    assert "MiB of memory available, planned are" in done.stderr and "perl (pid" in done.stderr, done.stderr


def test_a_gpu_that_is_not_there_keeps_the_engine_from_starting(served: Sandbox) -> None:
    done = served.exec(
        HOST,
        "GPUWRIGHT_NAME=chat GPUWRIGHT_RAM_BYTES=0 GPUWRIGHT_GPU_NEEDS='0000:ff:00.0=1 ' "
        "/usr/local/lib/gpuwright/gate",
    )
    assert done.returncode == 1
    assert "gpu 0000:ff:00.0 is not on the PCI bus" in done.stderr


def test_out_of_memory_it_goes_down_its_ladder_and_verify_says_so(served: Sandbox, tmp_path: Path) -> None:
    hungry = declared(HUNGRY, SMALL)
    try:
        done = pyinfra("-y", *ONLY, *hungry)
        assert done.returncode == 0, done.stdout
        log = served.exec(HOST, "journalctl --unit gpuwright-chat.service --output cat --lines 200").stdout
        assert "ladder of chat: out of GPU memory; the next start is on rung 1, with -c 2048" in log
        assert answers(served, "chat", 8080)
        words = served.exec(HOST, "docker inspect --format '{{json .Args}}' gpuwright-chat").stdout
        assert json.loads(words)[-2:] == ["-c", "2048"]
        assert planned_changes(pyinfra("--dry", *ONLY, *hungry).stdout) == set()
        services = f'for _name, _data in sandbox: _data["inference_services"] = {[HUNGRY, SMALL]!r}'
        judged = verify("--json", "--fast", *ONLY, inventory=written(tmp_path, services))
        assert failed(judged)[HOST] == {"service.rung"}
    finally:
        # Another declaration begins at the top again.
        assert pyinfra("-y", *ONLY, *declared(CHAT, SMALL)).returncode == 0
    assert served.exec(HOST, "ls /var/lib/gpuwright/rungs").stdout == ""
    assert answers(served, "chat", 8080)
