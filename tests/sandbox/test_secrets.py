"""Nobody who may not know a secret finds it: its real value is looked for wherever runs write, and in all processes.

The last host is used, whose sudo asks for a password, with a registry account, a hub's token and services' keys.
"""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from gpuwright.askpass import PLACEHOLDER
from tests.hub import hub_server
from tests.sandbox.hosts import REPOSITORY, Sandbox
from tests.sandbox.sampler import ON_THIS_MACHINE, on_host, sampled

BIN = Path(sys.executable).parent
MODEL = (REPOSITORY / "tests" / "fixtures" / "ok.gguf").read_bytes()
REGISTRY = "registry.invalid"
STORED = "/var/lib/gpuwright/models/tiny"
LOGINS, KEYS = "/etc/gpuwright/docker/config.json", "/etc/gpuwright/tiny.env"
WITH_A_CRASH = """
import deploy
from pyinfra.api import operation

@operation()
def broken():
    raise RuntimeError("while it ran")
    yield

deploy.converge()
broken(name="Broken", _sudo=True)
"""
DEBUG_LOG = REPOSITORY / "pyinfra-debug.log"
# Places that runs write to. The patterns come in on stdin, because this command is in argv as well.
FILES_WITH = """
grep --recursive --files-with-matches --text --fixed-strings --file=- --devices=skip --exclude-dir=netns \
    /etc /run /tmp /var/tmp /dev/shm /home /root /var/log /var/lib/gpuwright /var/lib/docker/containers
"""


@dataclass
class Runs:
    """Commands on the last host, and all that they wrote here, by the name of the command."""

    host: str
    environment: dict[str, str]
    written: dict[str, str] = field(default_factory=dict)

    def __call__(self, code: int, *command: str, report: Path | None = None) -> str:
        """Run a command of this virtual environment, which must end with `code`; gives both outputs."""
        done = subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            cwd=REPOSITORY,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        name = " ".join(command)
        self.written[name] = done.stdout
        if report is not None:
            self.written[f"{name}: report"] = report.read_text()
        assert done.returncode == code, f"{name}: {done.stdout}"
        return done.stdout


def inventory(folder: Path, name: str, host: str, more: dict[str, object]) -> str:
    """The sandbox's inventory with `more` data for `host`."""
    text = (REPOSITORY / "inventories" / "sandbox.py").read_text()
    path = folder / f"{name}.py"
    path.write_text(f"{text}\nsandbox = [({host!r}, {{**dict(sandbox)[{host!r}], **{more!r}}})]\n")
    return str(path)


def test_no_secret_is_anywhere_but_in_roots_own_files(sandbox: Sandbox, gateway: str, tmp_path: Path) -> None:
    row = sandbox.hosts[-1]
    host, password = str(row["name"]), str(row["sudo_password"])
    registry, token, proxy = (secrets.token_hex(12) for _ in range(3))
    canary = f"canary-{secrets.token_hex(8)}"
    (tmp_path / "group_data").symlink_to(REPOSITORY / "inventories" / "group_data")
    tiny = {"name": "tiny", "repo": "org/tiny", "revision": "main", "file": "ok.gguf"}
    data: dict[str, object] = {
        "container_engine_registry_logins": [
            {"registry": REGISTRY, "username": "lab", "password": "env:TEST_REGISTRY_PASSWORD"}
        ],
        "model_store_models": [tiny],
        "inference_services": [{"name": "tiny", "model": "tiny"}],
    }
    good = inventory(tmp_path, "good", host, data)
    image = f"{REGISTRY}/lab/llama.cpp@sha256:{'1' * 64}"
    pull = {"inference_image_source": "registry", "inference_image": image}
    no_image = inventory(tmp_path, "no_image", host, {**data, **pull})
    proxied = inventory(tmp_path, "proxied", host, {**data, "base_proxy": f"http://lab:{proxy}@proxy:3128"})
    (tmp_path / "crash.py").write_text(WITH_A_CRASH)
    DEBUG_LOG.unlink(missing_ok=True)
    log, own_log, report = tmp_path / "host.log", tmp_path / "own.log", tmp_path / "report.xml"
    junit = ("--junitxml", str(report))
    once = secrets.token_bytes(16)  # a file that the store cannot have yet
    sandbox.exec(host, f"rm -rf {STORED}")
    with hub_server({"org/tiny": {"ok.gguf": MODEL, "once": once}}, gateway) as hub:
        run = Runs(host, {"TEST_REGISTRY_PASSWORD": registry, "HF_TOKEN": token, "HF_ENDPOINT": hub.url})
        try:
            with sampled(on_host(sandbox.container(host)), log), sampled(ON_THIS_MACHINE, own_log):
                sandbox.exec(host, f"sh -c 'sleep 0.1' {canary}")
                subprocess.run(["sh", "-c", "sleep 0.1", canary], check=True)
                run(0, "pyinfra", good, "deploy.py", "-y", "--diff", "-vvv", "--debug")
                run(0, "pyinfra", good, "deploy.py", "--dry", "--diff", "-vvv", "--debug")
                run(0, "gpuwright", "drift", good, *junit, report=report)
                run(2, "gpuwright", "drift", no_image, "--json")
                run(0, "gpuwright", "verify", good, *junit, report=report)
                run(0, "gpuwright", "verify", good, "--json")
                run(0, "gpuwright", "status", host, "--inventory", good)
                run(0, "gpuwright", "ask", host, "Hello?", "--inventory", good, "--json")
                run(1, "pyinfra", no_image, "deploy.py", "-y", "--diff", "-vvv")
                refused = run(1, "pyinfra", proxied, "deploy.py", "-y", "-vvv")
                run(1, "pyinfra", good, str(tmp_path / "crash.py"), "-y", "-vvv")
            run.written["pyinfra-debug.log"] = DEBUG_LOG.read_text()
            run.written["command lines and environments on the host"] = log.read_text(errors="replace")
            run.written["command lines here"] = own_log.read_text(errors="replace")
            run.written["journal"] = sandbox.exec(host, "journalctl --no-pager --output=export").stdout
            units = sandbox.exec(
                host, "setpriv --reuid=nobody --regid=nogroup --clear-groups systemctl show '*'"
            )
            run.written["units"] = units.stdout
            key = sandbox.exec(host, f"sed -n 's/^LLAMA_API_KEY=//p' {KEYS}").stdout.strip()
            pair = base64.b64encode(f"lab:{registry}".encode()).decode()
            # Of the password the first word, which survives all ways of quoting the others.
            values = {
                "sudo password": password.partition(" ")[0],
                "registry password": registry,
                "registry account": pair,
                "token": token,
                "key": key,
                "proxy password": proxy,
            }
            searched = {name: _files_with(sandbox, host, value) for name, value in values.items()}
            readable = {path: _for_nobody(sandbox, host, path) for path in searched["key"]}
            owners = sandbox.exec(host, f"stat --format='%a %U %n' {LOGINS} {KEYS}").stdout
        finally:
            DEBUG_LOG.unlink(missing_ok=True)
            back = Runs(host, {})
            back(0, "pyinfra", "inventories/sandbox.py", "deploy.py", "-y", "--limit", host)
            sandbox.exec(host, f"rm -rf {STORED}")

    # Each was needed, and used.
    assert sandbox.exec(host, f"su {row['user']} -c 'sudo --reset-timestamp; sudo -n true'").returncode == 1
    assert f"Bearer {token}" in {authorization for _, authorization in hub.seen}
    assert "base_proxy: the value is not accepted" in refused
    assert all(len(value) >= 16 for value in values.values())
    # The samplers see a process of a tenth of a second, and the very commands that need the password.
    seen = run.written["command lines and environments on the host"].splitlines()
    for lines in (seen, run.written["command lines here"].splitlines()):
        assert [line for line in lines if line.startswith("cmdline ") and canary in line]
    assert len([line for line in seen if PLACEHOLDER in line and "sudo -H -A -k" in line]) > 5
    helpers = {line for line in seen if line.startswith("askpass ")}
    assert {"askpass 700 1000 closed"} <= helpers <= {f"askpass {mode} 1000 closed" for mode in (600, 700)}
    assert "COMMAND=" in run.written["journal"] and "while it ran" in run.written["pyinfra-debug.log"]
    assert "gpuwright-tiny.service" in run.written["units"]

    found = [
        (name, where)
        for name, value in values.items()
        for where in run.written
        if value in run.written[where]
    ]
    assert found == []
    assert searched["sudo password"] == searched["token"] == searched["proxy password"] == set()
    assert searched["registry password"] == set() and searched["registry account"] == {LOGINS}
    engines = ("/var/lib/docker/containers/", "/run/containerd/")  # the environment of its containers
    assert {path for path in searched["key"] if not path.startswith(engines)} == {KEYS}
    assert owners.splitlines() == [f"600 root {LOGINS}", f"600 root {KEYS}"]
    assert readable == {path: False for path in searched["key"]}


def _files_with(sandbox: Sandbox, host: str, value: str) -> set[str]:
    """The files of the host, among those that runs write, with `value` in them."""
    command = ["docker", "exec", "--interactive", sandbox.container(host), "sh", "-c", FILES_WITH]
    done = subprocess.run(command, input=f"{value}\n", capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return set(done.stdout.splitlines())


def _for_nobody(sandbox: Sandbox, host: str, path: str) -> bool:
    """Whether a user who owns nothing may read the file."""
    done = sandbox.exec(host, f"setpriv --reuid=nobody --regid=nogroup --clear-groups test -r {path}")
    return done.returncode == 0
