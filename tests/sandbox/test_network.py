"""A host behind a proxy, with a private authority, a mirror and a registry that asks: every download honours it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.sandbox.files_server import Files, Served
from tests.sandbox.hosts import REPOSITORY, Sandbox

HOST = "sbx1"
PASSWORD = "correct horse battery"
MODEL = (REPOSITORY / "tests" / "fixtures" / "ok.gguf").read_bytes()


@pytest.fixture(scope="module")
def proxy(gateway: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A forward proxy on this machine: its URL and its log."""
    log = tmp_path_factory.mktemp("proxy") / "log"
    with socket.socket() as probe:
        probe.bind((gateway, 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "proxy",
        "--hostname",
        gateway,
        "--port",
        str(port),
        "--log-file",
        str(log),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex((gateway, port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://{gateway}:{port}", log
        process.terminate()


class Deploy:
    """The real command line on one host, with settings on top of the inventory's."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def __call__(self, *flags: str, **settings: object) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "pyinfra"), "inventories/sandbox.py", "deploy.py"]
        command += ["--limit", HOST, *flags]
        for name, value in settings.items():
            command += ["--data", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
        return subprocess.run(
            command,
            cwd=REPOSITORY,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )


def test_every_download_honours_the_network_settings(
    sandbox: Sandbox,
    gateway: str,
    files: Files,
    authority: trustme.CA,
    proxy: tuple[str, Path],
    tmp_path: Path,
) -> None:
    url, log = proxy
    ca = tmp_path / "lab-ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    sandbox.exec(HOST, "rm -f /usr/local/share/ca-certificates/tests.crt; update-ca-certificates --fresh")
    digest = hashlib.sha256(MODEL).hexdigest()
    # The content may be there under another model's name: then nothing would be downloaded.
    store = "/var/lib/gpuwright/models"
    sandbox.exec(HOST, f"dpkg --purge curl; rm -rf {store}/web {store}/ok {store}/.blobs/{digest}")
    files.served["/web.gguf"] = Served(MODEL)
    model = {"name": "web", "url": f"{files.url}/web.gguf", "sha256": digest}
    registry = files.url.removeprefix("https://")
    network = {
        "base_proxy": url,
        "base_no_proxy": ["localhost", "127.0.0.1"],
        "base_ca_certificates": [str(ca)],
        "container_engine_registry_logins": [
            {"registry": registry, "username": "lab", "password": "env:TEST_REGISTRY_PASSWORD"}
        ],
    }
    served = {"model_store_models": [model], "inference_services": [{"name": "web", "model": "web"}]}
    deploy = Deploy({"TEST_REGISTRY_PASSWORD": PASSWORD})
    try:
        run = deploy("-y", "--diff", **network, **served)
        assert run.returncode == 0, run.stdout
        seen = log.read_text()
        assert "/InRelease - 200" in seen  # apt; of a kept connection the log has the first request
        # The model came over TLS that the private CA signed, and through the proxy, not from the host itself.
        own = sandbox.exec(HOST, "hostname --all-ip-addresses").stdout.split()
        assert own
        model_clients = {address for path, address in files.clients if path == "/web.gguf"}
        assert model_clients and model_clients.isdisjoint(own)
        mode = sandbox.exec(HOST, "stat -c '%a %U' /etc/gpuwright/docker/config.json").stdout
        assert mode == "600 root\n"
        again = deploy("--dry", **network, **served)
        assert "Success" not in again.stdout and " 1 (sbx1) " not in again.stdout, again.stdout

        image = f"{registry}/lab/llama.cpp@sha256:{'1' * 64}"
        refused = deploy("-y", inference_image_source="registry", inference_image=image, **network, **served)
        assert refused.returncode == 1
        asked = base64.b64encode(f"lab:{PASSWORD}".encode()).decode()
        assert ("Authorization", f"Basic {asked}") in files.headers
        registry_clients = {address for path, address in files.clients if path.startswith("/v2/")}
        assert registry_clients and registry_clients.isdisjoint(own)

        everything = run.stdout + again.stdout + refused.stdout + seen
        assert PASSWORD not in everything and asked not in everything
        missing = Deploy({})("-y", **network, **served)
        assert missing.returncode == 1
        assert "secret env:TEST_REGISTRY_PASSWORD: the variable is not set" in missing.stdout
    finally:
        back = deploy("-y")
    assert back.returncode == 0, back.stdout
    left = sandbox.exec(
        HOST, "ls /etc/apt/apt.conf.d/90gpuwright-proxy /etc/gpuwright/proxy.env /etc/gpuwright/docker/*"
    )
    assert left.stdout == ""
    environment = sandbox.exec(HOST, "systemctl show --property=Environment docker.service").stdout
    assert "PROXY=" not in environment


def test_declared_sources_take_the_place_of_the_installers_and_go_again(sandbox: Sandbox) -> None:
    before = sandbox.exec(
        HOST, "apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT)' | sort -u"
    ).stdout
    uris = sandbox.exec(
        HOST, "apt-get indextargets --format '$(REPO_URI) $(RELEASE)' | sort -u"
    ).stdout.splitlines()
    by_suite = {release: uri.rstrip("/") for uri, release in (line.split(" ") for line in uris)}
    codename = "bookworm"
    archive, security = by_suite[codename], by_suite[f"{codename}-security"]
    deploy = Deploy({})
    lone = deploy("-y", base_apt_sources=[{"uri": archive, "suites": [codename]}])
    assert lone.returncode == 1
    assert f"no source has {codename}-security" in lone.stdout
    sources = [
        {"uri": f"{archive}/", "suites": [codename, f"{codename}-updates"]},
        {"uri": f"{security}/", "suites": [f"{codename}-security"]},
    ]
    try:
        run = deploy("-y", base_apt_sources=sources)
        assert run.returncode == 0, run.stdout
        assert sandbox.exec(HOST, "apt-get update").returncode == 0
        names = sandbox.exec(HOST, "ls /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null").stdout
        assert "gpuwright-archive.sources" in names
        assert "debian.sources" not in names and "/etc/apt/sources.list\n" not in names
        assert " 1 (sbx1) " not in deploy("--dry", base_apt_sources=sources).stdout
    finally:
        back = deploy("-y")
    assert back.returncode == 0, back.stdout
    after = sandbox.exec(
        HOST, "apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT)' | sort -u"
    ).stdout
    assert after == before
