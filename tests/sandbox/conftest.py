"""Throw-away hosts for the tests that need a real one: made once per session, by our own command."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from gpuwright import paths
from gpuwright.sandbox import engine, vllm_image
from tests.sandbox import control_node
from tests.sandbox.control_node import ControlNode
from tests.sandbox.driver_hosts import DRIVER, TOOLKIT, DriverHosts
from tests.sandbox.files_server import Files, https_files
from tests.sandbox.hosts import REPOSITORY, Sandbox, gpuwright
from tests.sandbox.stub_driver import StubDriver
from tests.sandbox.stub_repository import Authority
from tests.sandbox.stub_toolkit import StubToolkit
from tests.stub_archive.archive import missing_tools

UP = ("sandbox", "up", "--hosts", "2", "--os", "debian12", "--os", "debian13")
RELEASES = ("debian13", "debian13", "debian13", "debian12")
FOUR = ("sandbox", "up", "--hosts", "4", *(word for release in RELEASES for word in ("--os", release)))


class HostGroups(LoadScopeScheduling):
    """With several processes: tests that share hosts stay in one; those of drivers and kernels have their own."""

    def _split_scope(self, nodeid: str) -> str:
        return "drivers" if re.search("driver|kernel", nodeid.partition("::")[0]) else "hosts"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> HostGroups:
    return HostGroups(config, log)


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Debian 12 and 13; GPUWRIGHT_STATE_DIR names their state, GPUWRIGHT_KEEP_SANDBOX keeps them."""
    named = os.environ.get("GPUWRIGHT_STATE_DIR")
    state_dir = Path(named) if named else tmp_path_factory.mktemp("state")
    os.environ["GPUWRIGHT_STATE_DIR"] = str(state_dir)
    gpuwright(*UP)
    try:
        hosts = json.loads((state_dir / "sandbox.json").read_text())["hosts"]
        yield Sandbox(hosts, REPOSITORY / "inventories" / "sandbox.py", state_dir)
    finally:
        if not os.environ.get("GPUWRIGHT_KEEP_SANDBOX"):
            gpuwright("sandbox", "down")
        if not named:
            del os.environ["GPUWRIGHT_STATE_DIR"]


@pytest.fixture(scope="session")
def vllm_cpu() -> str:
    """The id of the image with vLLM for CPUs; importing its 1.7 GB is one request."""
    return vllm_image.build(engine.connect(timeout_s=900), paths.state_dir() / "cache", print)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def prepared(sandbox: Sandbox, authority: trustme.CA) -> Sandbox:
    """The hosts with curl, gnupg and our CA: what role base, or an administrator, brings."""
    for host in sandbox.hosts:
        done = sandbox.exec(
            str(host["name"]),
            "apt-get -q update && apt-get -q install -y curl ca-certificates gnupg >/dev/null && umask 022 && "
            f"printf %s '{authority.cert_pem.bytes().decode()}' >/usr/local/share/ca-certificates/tests.crt && "
            "update-ca-certificates",
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return sandbox


@pytest.fixture(scope="session")
def gateway(sandbox: Sandbox) -> str:
    """This machine, as the last host sees it."""
    done = sandbox.exec(str(sandbox.hosts[-1]["name"]), "ip -4 route show default")
    return done.stdout.split()[2]


@pytest.fixture
def files(gateway: str, authority: trustme.CA) -> Iterator[Files]:
    with https_files(gateway, authority) as served:
        yield served


@pytest.fixture(scope="session")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Four hosts for Ansible: a control node, two that are alike, and one whose sudo asks for a password.

    GPUWRIGHT_STATE_DIR names the folder that theirs lies in, GPUWRIGHT_KEEP_SANDBOX keeps them."""
    named = os.environ.get("GPUWRIGHT_STATE_DIR")
    state_dir = Path(named) / "ansible-core" if named else tmp_path_factory.mktemp("ansible-core")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPUWRIGHT_STATE_DIR", str(state_dir))
        gpuwright(*FOUR)
    try:
        hosts = json.loads((state_dir / "sandbox.json").read_text())["hosts"]
        yield Sandbox(hosts, REPOSITORY / "inventories" / "sandbox.py", state_dir)
    finally:
        if not os.environ.get("GPUWRIGHT_KEEP_SANDBOX"):
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("GPUWRIGHT_STATE_DIR", str(state_dir))
                gpuwright("sandbox", "down")


@pytest.fixture(scope="session")
def nodes(four: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ControlNode]:
    """Both control machines, by the names that tests are parametrised with."""
    return {
        "here": control_node.here(tmp_path_factory.mktemp("here")),
        "debian13": control_node.prepare(four, "sbx1"),
    }


@pytest.fixture(params=["here", "debian13"])
def control(request: pytest.FixtureRequest, nodes: dict[str, ControlNode]) -> ControlNode:
    return nodes[request.param]


@contextmanager
def driver_host(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> Iterator[tuple[DriverHosts, Authority]]:
    """A Debian 13, and a repository of NVIDIA's (a stub) with one driver, that nobody has told the host of.

    GPUWRIGHT_STATE_DIR names the folder that its state lies in, GPUWRIGHT_KEEP_SANDBOX keeps it."""
    assert not missing_tools(), f"the stub's packages are built with {missing_tools()}"
    named = os.environ.get("GPUWRIGHT_STATE_DIR")
    state_dir = Path(named) / name if named else tmp_path_factory.mktemp(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPUWRIGHT_STATE_DIR", str(state_dir))
        gpuwright("sandbox", "up", "--hosts", "1", "--os", "debian13")
    try:
        hosts = json.loads((state_dir / "sandbox.json").read_text())["hosts"]
        made = Sandbox(hosts, REPOSITORY / "inventories" / "sandbox.py", state_dir)
        gateway = made.exec("sbx1", "ip -4 route show default").stdout.split()[2]
        authority = Authority()
        with https_files(gateway, authority) as served:
            stub = StubDriver(tmp_path_factory.mktemp("stub"), served)
            toolkit = StubToolkit(tmp_path_factory.mktemp("stub-toolkit"), served)
            drivers = DriverHosts(made, tmp_path_factory.mktemp("driver-inventory"), stub, toolkit)
            drivers.write_inventory()
            drivers.publish([DRIVER])
            toolkit.publish([TOOLKIT])
            yield drivers, authority
            stub.close()
            toolkit.close()
    finally:
        if not os.environ.get("GPUWRIGHT_KEEP_SANDBOX"):
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("GPUWRIGHT_STATE_DIR", str(state_dir))
                gpuwright("sandbox", "down")


@pytest.fixture(scope="session")
def bare_drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DriverHosts]:
    """A Debian 13 as a bare machine with a GPU (a stand-in) that knows the stub's repository; nothing is deployed."""
    with driver_host(tmp_path_factory, "drivers") as (made, authority):
        made.prepare("sbx1", authority, made.newest_kernel("sbx1"))
        yield made


@pytest.fixture(scope="session")
def first_run(bare_drivers: DriverHosts) -> str:
    """The output of the run that brings the host its driver."""
    run = bare_drivers.deploy()
    assert run.returncode == 0, run.stdout
    return run.stdout


@pytest.fixture(scope="session")
def drivers(bare_drivers: DriverHosts, first_run: str) -> DriverHosts:
    """The same host with the driver, whoever asks first."""
    return bare_drivers
