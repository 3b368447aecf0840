"""`models.stored` on real hosts, through the pyinfra command line: SSH, sudo with a password, curl, kills."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from gpuwright.plan.model import HttpsFile, HuggingFaceRepo, LocalFile, Model, ModelSource
from tests.hub import hub_server
from tests.sandbox.files_server import Files, Served
from tests.sandbox.hosts import Sandbox

REPOSITORY = Path(__file__).resolve().parents[2]
FIXTURE = REPOSITORY / "tests" / "fixtures" / "ok.gguf"
STORE = "/var/lib/gpuwright/models"


def model(name: str, source: ModelSource, entry: str = "model.gguf") -> Model:
    return Model(name, f"{STORE}/{name}", f"{STORE}/{name}/{entry}".rstrip("/"), source)


class Deploy:
    """pyinfra with a deploy file of one operation, on one host."""

    def __init__(self, sandbox: Sandbox, host: str, folder: Path) -> None:
        self.sandbox, self.host, self.file = sandbox, host, folder / "deploy_models.py"

    def start(self, models: tuple[Model, ...], *flags: str) -> subprocess.Popen[str]:
        self.file.write_text(
            "from gpuwright.operations import models\n"
            "from gpuwright.plan.model import HttpsFile, HuggingFaceRepo, LocalFile, Model\n"
            f"models.stored(name='Model files', models={models!r}, store={STORE!r}, _sudo=True)\n"
        )
        pyinfra = str(Path(sys.executable).parent / "pyinfra")
        command = [pyinfra, str(self.sandbox.inventory), str(self.file), "--limit", self.host, *flags]
        return subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def __call__(self, *models: Model, flags: tuple[str, ...] = ("-y",), ok: bool = True) -> str:
        process = self.start(models, *flags)
        output, _ = process.communicate(timeout=120)
        assert (process.returncode == 0) is ok, output
        return output

    def on_host(self, shell: str) -> str:
        done = self.sandbox.exec(self.host, f"cd {STORE} && {{ {shell}; }}")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture
def deploy(prepared: Sandbox, tmp_path: Path) -> Deploy:
    """On the last host, where sudo asks for a password; the store is empty."""
    host = str(prepared.hosts[-1]["name"])
    prepared.exec(host, f"rm -rf {STORE}")
    return Deploy(prepared, host, tmp_path)


def test_a_local_file_is_stored_once_and_then_left_alone(prepared: Sandbox, tmp_path: Path) -> None:
    models = (
        model("one", LocalFile("tests/fixtures/ok.gguf")),
        model("two", LocalFile(str(FIXTURE)), entry=""),
    )
    for row in prepared.hosts:
        host = str(row["name"])
        prepared.exec(host, f"rm -rf {STORE}")
        deploy = Deploy(prepared, host, tmp_path)
        assert f"Model files   1 ({host})" in deploy(*models, flags=("--dry",))
        assert prepared.exec(host, f"ls {STORE}").returncode != 0
        assert "one: 0 MB fetched, verified and stored" in deploy(*models)
        assert "No changes" in deploy(*models)
        assert "Model files   -" in deploy(*models, flags=("--dry",))
        content = FIXTURE.read_bytes()
        facts = deploy.on_host(
            "stat -c '%a %U:%G %h %s' one two one/model.gguf two/ok.gguf one/.gpuwright.json"
        )
        assert [line.split()[:2] for line in facts.splitlines()] == [["755", "root:root"]] * 2 + [
            ["644", "root:root"]
        ] * 3
        assert facts.splitlines()[2] == facts.splitlines()[3] == f"644 root:root 3 {len(content)}"
        sha256 = hashlib.sha256(content).hexdigest()
        assert json.loads(deploy.on_host("cat one/.gpuwright.json")) == {
            "schema": 1,
            "source": {"kind": "local", "file": "model.gguf", "sha256": sha256},
            "commit": None,
            "files": [{"path": "model.gguf", "size": len(content), "digest": f"sha256:{sha256}"}],
        }


def test_a_changed_local_file_replaces_the_old_one_and_frees_its_space(
    deploy: Deploy, tmp_path: Path
) -> None:
    source = tmp_path / "it's a model.bin"
    source.write_bytes(b"old")
    deploy(model("local", LocalFile(str(source)), entry=""))
    source.write_bytes(b"newer")
    deploy(model("local", LocalFile(str(source)), entry="sub/name.bin"))
    assert deploy.on_host("find . -type f -size -6c -exec cat {} +; ls local") == "newernewersub"


def test_a_cut_file_on_the_host_is_stored_again(deploy: Deploy) -> None:
    wanted = model("local", LocalFile(str(FIXTURE)))
    deploy(wanted)
    deploy.on_host("rm local/model.gguf && head -c 9 .blobs/* >local/model.gguf && echo x >.partial/stale")
    assert "verified and stored" in deploy(wanted)
    assert (
        deploy.on_host("sha256sum <local/model.gguf; ls .partial").split()[0]
        == hashlib.sha256(FIXTURE.read_bytes()).hexdigest()
    )
    deploy.on_host("echo x >.partial/stale")
    assert "Success" in deploy(wanted)
    assert "No changes" in deploy(wanted)


def test_a_missing_local_file_fails_its_host_after_a_plan_that_does_not(deploy: Deploy) -> None:
    wanted = model("absent", LocalFile("no/such.gguf")), model("there", LocalFile(str(FIXTURE)))
    deploy(*wanted, flags=("--dry",))
    output = deploy(*wanted, ok=False)
    assert "model file no/such.gguf: the control machine has no such file" in output
    assert "Traceback" not in output
    assert deploy.on_host("ls") == "there"


def test_a_download_that_is_cut_half_way_is_resumed(deploy: Deploy, files: Files) -> None:
    content = random.Random(1).randbytes(6_000_000)
    files.served["/m.gguf"] = Served(content, cut=True)
    wanted = model("https", HttpsFile(f"{files.url}/m.gguf", hashlib.sha256(content).hexdigest()))
    output = deploy(wanted)
    first, second = files.gets("/m.gguf")
    assert first is None
    assert second is not None and second == "bytes=3000000-"
    assert "going on at 3 MB" in output
    assert deploy.on_host("sha256sum <https/model.gguf").split()[0] == hashlib.sha256(content).hexdigest()
    requests = len(files.log)
    assert "No changes" in deploy(wanted)
    assert len(files.log) == requests


def test_a_server_that_is_vague_about_ranges_is_asked_for_the_whole(deploy: Deploy, files: Files) -> None:
    content = random.Random(5).randbytes(2_000_000)
    files.served["/m.gguf"] = Served(content, cut=True, bare=True)
    deploy(model("vague", HttpsFile(f"{files.url}/m.gguf", hashlib.sha256(content).hexdigest())))
    assert files.gets("/m.gguf") == [None, "bytes=1000000-", None]


def test_a_download_with_another_digest_leaves_nothing(deploy: Deploy, files: Files) -> None:
    files.served["/m.gguf"] = Served(b"not the model")
    wanted = model("wrong", HttpsFile(f"{files.url}/m.gguf?signature=hush", "0" * 64))
    files.served["/m.gguf?signature=hush"] = files.served["/m.gguf"]
    output = deploy(wanted, ok=False)
    found = hashlib.sha256(b"not the model").hexdigest()
    assert f"model wrong: {files.url}/m.gguf gave 13 bytes with sha256 {found}" in output
    assert f"required: sha256 {'0' * 64}. The download was removed." in output
    assert "hush" not in output.replace(repr(wanted), "")
    assert deploy.on_host("ls; ls .partial .blobs") == ".blobs:\n\n.partial:"


def test_a_file_that_the_server_lacks_is_not_asked_for_again_and_again(deploy: Deploy, files: Files) -> None:
    output = deploy(model("gone", HttpsFile(f"{files.url}/gone", "0" * 64)), ok=False)
    assert "The requested URL returned error: 404" in output
    assert len(files.gets("/gone")) == 1


def test_a_disk_that_is_too_small_is_refused_before_a_byte_moves(deploy: Deploy, files: Files) -> None:
    files.served["/huge"] = Served(b"x", announce=10**16)
    output = deploy(model("huge", HttpsFile(f"{files.url}/huge", "0" * 64)), ok=False)
    assert "10000000000 MB of model files still to come (huge)" in output
    assert files.gets("/huge") == []


def test_an_upload_that_is_killed_resumes(deploy: Deploy, tmp_path: Path) -> None:
    source = tmp_path / "big.bin"
    source.write_bytes(random.Random(2).randbytes(60_000_000))
    wanted = model("big", LocalFile(str(source)), entry="model.bin")
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    process = deploy.start((wanted,), "-y")
    _wait_for(deploy, f".partial/{sha256}", 16 * 1024 * 1024)
    process.kill()
    process.communicate()
    left = int(deploy.on_host(f"stat -c %s .partial/{sha256}"))
    assert 0 < left < 60_000_000
    assert "of 60 MB are there already" in deploy(wanted)
    assert deploy.on_host("sha256sum <big/model.bin").split()[0] == sha256
    assert deploy.on_host("ls .partial") == ""


def test_a_download_that_is_killed_resumes_and_leaves_no_curl(deploy: Deploy, files: Files) -> None:
    content = random.Random(3).randbytes(20_000_000)
    sha256 = hashlib.sha256(content).hexdigest()
    files.served["/slow.gguf"] = Served(content, slow=True)
    wanted = model("slow", HttpsFile(f"{files.url}/slow.gguf", sha256))
    process = deploy.start((wanted,), "-y")
    _wait_for(deploy, f".partial/{sha256}", 2_000_000)
    process.kill()
    process.communicate()
    deploy(wanted)
    first, second = files.gets("/slow.gguf")
    assert first is None and second is not None and second.startswith("bytes=")
    assert deploy.on_host("sha256sum <slow/model.gguf").split()[0] == sha256
    assert deploy.sandbox.exec(deploy.host, "pgrep curl").stdout == ""


def test_a_hub_repository_is_stored_with_its_token_kept_quiet(
    deploy: Deploy, gateway: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = random.Random(4).randbytes(2_000_000)
    repository = {"config.json": b'{"a": 1}', "sub dir/w.gguf": weights, "empty": b"", "skip.bin": b"x"}
    with hub_server({"org/tiny": repository}, gateway) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", "hf_very_secret")
        wanted = model("hub", HuggingFaceRepo("org/tiny", "main", ("*.json", "*.gguf", "empty")), entry="")
        output = deploy(wanted, flags=("-y", "-vvv", "--debug"))
        asked = [path for path, authorization in hub.seen if authorization == "Bearer hf_very_secret"]
        hub.seen.clear()
        assert "No changes" in deploy(wanted)
        assert hub.seen == []
    assert f"/org/tiny/resolve/{hub.commit}/sub%20dir/w.gguf" in asked
    assert "hf_very_secret" not in output
    assert "hf_very_secret" not in deploy.on_host("cat hub/.gpuwright.json")
    assert deploy.on_host("cd hub; find . -type f | sort") == "\n".join(
        ["./.gpuwright.json", "./config.json", "./empty", "./sub dir/w.gguf"]
    )
    assert deploy.on_host("sha256sum <'hub/sub dir/w.gguf'").split()[0] == hashlib.sha256(weights).hexdigest()
    manifest = json.loads(deploy.on_host("cat hub/.gpuwright.json"))
    assert manifest["commit"] == hub.commit
    digest = hashlib.sha1(b'blob 8\0{"a": 1}').hexdigest()
    assert manifest["files"][0] == {"path": "config.json", "size": 8, "digest": f"git-sha1:{digest}"}


def _wait_for(deploy: Deploy, path: str, size: int) -> None:
    """Return as soon as `path` has `size` bytes on the host."""
    loop = f'until [ "$(stat -c %s {STORE}/{path} 2>/dev/null || echo 0)" -ge {size} ]; do sleep 0.05; done'
    done = deploy.sandbox.exec(deploy.host, f"timeout 60 sh -c '{loop}'")
    assert done.returncode == 0, done.stderr
