"""`gpuwright ask` against HTTP servers that speak recorded streams, and a tunnel through a real sshd."""

from __future__ import annotations

import getpass
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gpuwright.ask import Answer, Endpoint, Question, ask, choose, parse_env, stream
from gpuwright.connection import connect
from gpuwright.errors import GpuwrightError
from gpuwright.inventory import HostEntry
from gpuwright.stamp import Stamp, StampedService
from gpuwright.tunnel import PortRefused

FIXTURES = Path(__file__).parents[1] / "fixtures"
LLAMA = (FIXTURES / "llama_server_chat_stream.txt").read_bytes()
KEY = "secret-key-1234"
Reply = tuple[int, bytes, float]  # status, body, seconds before the second half


def vllm_chat() -> bytes:
    """vLLM's recorded stream. It is of /v1/completions; only where the text sits differs from chat."""
    events = []
    for event in (FIXTURES / "vllm032_stream.txt").read_text().split("\n\n"):
        if event.startswith("data: {"):
            data = json.loads(event.removeprefix("data: "))
            for choice in data["choices"]:
                choice["delta"] = {"content": choice.pop("text")}
            event = f"data: {json.dumps(data)}"
        events.append(event)
    return "\n\n".join(events).encode()


@contextmanager
def server(reply: Reply, requests: list[dict[str, object]] | None = None) -> Iterator[int]:
    """A model server on a free port that always gives `reply`, but 401 for a wrong key."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if requests is not None:
                requests.append(body)
            authorised = self.headers["Authorization"] == f"Bearer {KEY}"
            status, payload, pause = reply if authorised else (401, b'{"error":{"message":"Invalid key"}}', 0)
            self.send_response(status)
            self.send_header("Content-Type", "text/event-stream" if status == 200 else "application/json")
            self.end_headers()
            half = len(payload) // 2
            self.wfile.write(payload[:half])
            self.wfile.flush()
            time.sleep(pause)
            self.wfile.write(payload[half:])

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield http.server_address[1]
        http.shutdown()


def ask_port(port: int, on_text: Callable[[str], object] = lambda _: None, **question: object) -> Answer:
    endpoint = Endpoint("h1", "chat", "gpuwright-chat.service", "tiny", port, str(question.pop("key", KEY)))
    return stream(endpoint, Question("Say ok.", **question), on_text)  # type: ignore[arg-type]


def service(name: str = "chat", port: int = 8080, env_file: str = "/nowhere.env") -> StampedService:
    unit = f"gpuwright-{name}.service"
    key = "LLAMA_API_KEY"
    return StampedService(
        name, "llama_cpp", "tiny", port, unit, f"gpuwright-{name}", "image", env_file, "", key
    )


@pytest.mark.parametrize(("recording", "text"), [(LLAMA, "I'm ready to assist you"), (vllm_chat(), "oooo")])
def test_streams_the_text_and_counts_tokens(recording: bytes, text: str) -> None:
    pieces: list[str] = []
    with server((200, recording, 0.05)) as port:
        answer = ask_port(port, pieces.append)
    assert answer.answer == "".join(pieces) == text
    assert len(pieces) == answer.completion_tokens
    assert 0 < answer.first_token_s <= answer.total_s
    assert answer.tokens_per_second is not None and answer.tokens_per_second > 0


def test_sends_what_was_asked_for() -> None:
    requests: list[dict[str, object]] = []
    with server((200, LLAMA, 0), requests) as port:
        ask_port(port, system="Be brief.", max_tokens=7)
    (body,) = requests
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Say ok."},
    ]
    assert (body["temperature"], body["max_tokens"], body["stream"]) == (0, 7, True)


def test_a_proxy_in_the_environment_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with server((200, LLAMA, 0)) as port:
        assert ask_port(port).answer


EMPTY = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\ndata: [DONE]\n\n'
LOADING = b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}'
BROKEN = b'data: {"error":{"message":"out of memory for ' + KEY.encode() + b'"}}\n\n'


@pytest.mark.parametrize(
    ("reply", "question", "expected"),
    [
        ((503, LOADING, 0), {}, "is not ready .*Loading model"),
        ((200, LLAMA, 0), {"key": "wrong-key"}, "refuses the key of its env file"),
        ((200, EMPTY, 0), {}, "empty answer \\(finish reason: length\\)"),
        ((200, b"", 0), {}, "empty answer \\(finish reason: none\\)"),
        ((200, b"data: {nonsense\n\n", 0), {}, "failed"),
        ((200, BROKEN, 0), {}, "failed \\(out of memory for \\*\\*\\*\\)"),
        ((404, b'{"error":{"message":"no such model"}}', 0), {}, "failed .*no such model"),
        ((200, LLAMA, 1.0), {"timeout_s": 0.3}, "did not finish its answer within 0.3 s"),
    ],
)
def test_every_failure_is_a_sentence_without_the_key(
    reply: Reply, question: dict[str, object], expected: str
) -> None:
    with server(reply) as port, pytest.raises(GpuwrightError, match=expected) as caught:
        ask_port(port, **question)
    assert KEY not in str(caught.value)
    assert KEY not in repr(caught.value.__cause__)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_service_that_is_down_is_named_with_its_unit(tmp_path: Path) -> None:
    (tmp_path / "chat.env").write_text(f"LLAMA_API_KEY={KEY}\n")
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    declared = service(port=port, env_file=str(tmp_path / "chat.env"))
    with connect(HostEntry("@local", {"_sudo": False})) as here, pytest.raises(GpuwrightError) as caught:
        ask(here, declared, Question("hi"), lambda _: None)
    assert f"nothing listens on 127.0.0.1:{port}" in str(caught.value)
    assert "gpuwright-chat.service" in str(caught.value) and "gpuwright status @local" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"), [(None, "No such file"), ("OTHER=1\n", "holds no LLAMA_API_KEY")]
)
def test_a_missing_key_is_a_sentence(tmp_path: Path, text: str | None, expected: str) -> None:
    path = tmp_path / "chat.env"
    if text is not None:
        path.write_text(text)
    with (
        connect(HostEntry("@local", {"_sudo": False})) as here,
        pytest.raises(GpuwrightError, match=expected),
    ):
        ask(here, service(env_file=str(path)), Question("hi"), lambda _: None)


def test_env_files_are_taken_literally() -> None:
    assert parse_env("# A=1\n\nB=x=y\nC='q'\nnonsense\n") == {"B": "x=y", "C": "'q'"}


def test_the_only_service_needs_no_name() -> None:
    one, two = service("chat"), service("code")
    assert choose(Stamp(None, None, (one,)), "h1") == one
    assert choose(Stamp(None, None, (one, two)), "h1", "code") == two
    for stamp, name, expected in (
        (Stamp(None, None, ()), None, "has no service; required: a deployed model"),
        (Stamp(None, None, (one, two)), None, "several services: chat, code"),
        (Stamp(None, None, (one, two)), "chta", "Did you mean chat?"),
    ):
        with pytest.raises(GpuwrightError) as caught:
            choose(stamp, "h1", name)
        assert expected in str(caught.value)


@pytest.fixture(scope="module")
def ssh_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostEntry]:
    """This machine through a real sshd on a loopback port, with keys of its own."""
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if sshd is None:
        pytest.skip("no sshd here (apt-get install openssh-server)")
    directory = tmp_path_factory.mktemp("sshd")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
    (directory / "authorized_keys").write_text((directory / "user.pub").read_text())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    public = " ".join((directory / "host.pub").read_text().split()[:2])
    (directory / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}\n")
    config = directory / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {directory}/host\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {directory}/authorized_keys\nPasswordAuthentication no\nPermitRootLogin yes\n"
    )
    if getpass.getuser() == "root":  # where sshd confines its unprivileged half
        Path("/run/sshd").mkdir(exist_ok=True)
    process = subprocess.Popen([sshd, "-D", "-e", "-f", config], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield HostEntry(
            "loop",
            {
                "ssh_hostname": "127.0.0.1",
                "ssh_port": port,
                "ssh_user": getpass.getuser(),
                "ssh_key": str(directory / "user"),
                "ssh_known_hosts_file": str(directory / "known_hosts"),
                "ssh_strict_host_key_checking": "yes",
                "_sudo": False,
            },
        )
    finally:
        process.terminate()
        process.wait(timeout=10)


def test_commands_over_ssh_keep_code_and_outputs(ssh_host: HostEntry) -> None:
    with connect(ssh_host) as host:
        result = host.run("echo out; echo; echo 'err \"quoted\"' >&2; exit 3")
        assert (result.code, result.ok, result.stdout, result.stderr) == (3, False, "out\n", 'err "quoted"')
        assert host.run("printf '%s' \"a'b\"").stdout == "a'b"
        assert host.run("true").stdout == ""
        with pytest.raises(GpuwrightError, match="did not finish within 1 s"):
            host.run("sleep 30", timeout=1)


def test_asks_through_the_tunnel(ssh_host: HostEntry, tmp_path: Path) -> None:
    (tmp_path / "chat.env").write_text(f"LLAMA_API_KEY={KEY}\n")
    with server((200, LLAMA, 0.05)) as port, connect(ssh_host) as host:
        declared = service(port=port, env_file=str(tmp_path / "chat.env"))
        answer = ask(host, declared, Question("hi"), lambda _: None)
    assert (answer.answer, answer.host) == ("I'm ready to assist you", "loop")


def test_the_tunnel_carries_many_connections_and_much_data(ssh_host: HostEntry) -> None:
    data = bytes(range(256)) * 8192  # 2 MiB, more than a channel's window

    def echo(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=reply, args=(connection,), daemon=True).start()

    def reply(connection: socket.socket) -> None:
        received = b""
        while part := connection.recv(65536):  # until the other side says that it is done
            received += part
        connection.sendall(received)
        connection.close()

    def trip(port: int, results: list[bytes]) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as near:
            near.sendall(data)
            near.shutdown(socket.SHUT_WR)
            received = b""
            while part := near.recv(65536):
                received += part
        results.append(received)

    results: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as far:
        threading.Thread(target=echo, args=(far,), daemon=True).start()
        with connect(ssh_host) as host, host.tunnel(far.getsockname()[1]) as port:
            threads = [threading.Thread(target=trip, args=(port, results)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(timeout=60)
            assert host.run("echo beside").stdout == "beside"
        far.shutdown(socket.SHUT_RDWR)
    assert results == [data] * 4
    with socket.socket() as closed:
        assert closed.connect_ex(("127.0.0.1", port)) != 0


def test_nothing_listening_at_the_far_end_is_said_at_once(ssh_host: HostEntry) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with connect(ssh_host) as host, pytest.raises(PortRefused, match="does not answer"), host.tunnel(port):
        pass


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"ssh_port": 1}, "Unable to connect to port 1"),
        ({"ssh_key": "/nowhere/key"}, "No such private key file"),
        ({"ssh_known_hosts_file": "/dev/null"}, "its host key is not known"),
        ({"ssh_user": "nobody-here"}, "SSH does not let user nobody-here in"),
    ],
)
def test_an_unreachable_host_is_a_sentence(
    ssh_host: HostEntry, data: dict[str, object], expected: str, capfd: pytest.CaptureFixture[str]
) -> None:
    entry = HostEntry("loop", {**ssh_host.data, **data})
    with pytest.raises(GpuwrightError, match=expected), connect(entry):
        pass
    assert "Traceback" not in capfd.readouterr().err
