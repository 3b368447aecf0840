"""The same hosts through testinfra's own modules: a witness that shares only the connection with verify."""

from __future__ import annotations

import json

import pytest
from testinfra.host import Host

from gpuwright.plan import HostPlan
from gpuwright.plan.model import Service


@pytest.fixture
def services(plan: HostPlan) -> tuple[Service, ...]:
    if not plan.inference.services:
        pytest.skip("no service is declared for this host")
    return plan.inference.services


def test_the_engine_runs_and_will_after_a_reboot(host: Host) -> None:
    engine = host.service("docker")
    assert engine.is_running
    assert engine.is_enabled


def test_curl_is_installed(host: Host) -> None:
    assert host.package("curl").is_installed


def test_services_run_and_will_after_a_reboot(host: Host, services: tuple[Service, ...]) -> None:
    for service in services:
        unit = host.service(service.unit)
        assert unit.is_running
        assert unit.is_enabled


def test_ports_listen_on_loopback_alone(host: Host, services: tuple[Service, ...]) -> None:
    for service in services:
        sockets = [s for s in host.socket.get_listening_sockets() if s.endswith(f":{service.port}")]
        assert sockets == [f"tcp://127.0.0.1:{service.port}"]


def test_a_question_without_a_key_is_refused(host: Host, services: tuple[Service, ...]) -> None:
    for service in services:
        url = f"http://127.0.0.1:{service.port}/v1/models"
        assert host.check_output("curl -s -o /dev/null -w '%%{http_code}' --noproxy '*' %s", url) == "401"


def test_keys_are_for_root_alone(host: Host, services: tuple[Service, ...]) -> None:
    for service in services:
        file = host.file(service.env_file)
        assert (file.is_file, file.mode, file.user, file.group) == (True, 0o600, "root", "root")


def test_unit_files_are_roots_and_not_writable_for_others(host: Host, services: tuple[Service, ...]) -> None:
    for service in services:
        file = host.file(f"/etc/systemd/system/{service.unit}")
        assert (file.mode, file.user) == (0o644, "root")


def test_the_account_cannot_log_in(host: Host, plan: HostPlan, services: tuple[Service, ...]) -> None:
    for declared in plan.inference.users:
        account = host.user(declared.name)
        assert account.exists
        assert account.uid != 0
        assert account.shell.endswith("/nologin")


def test_containers_are_confined(host: Host, services: tuple[Service, ...]) -> None:
    for service in services:
        shown = host.check_output("docker inspect --format '{{json .HostConfig}}' %s", service.container)
        limits = json.loads(shown)
        assert limits["CapDrop"] == ["ALL"]
        assert not limits["Privileged"]
        assert limits["ReadonlyRootfs"]
        assert limits["Memory"] == service.memory_bytes


def test_the_engine_runs_as_the_account(host: Host, services: tuple[Service, ...]) -> None:
    for service in services:
        pid = host.check_output("docker inspect --format '{{.State.Pid}}' %s", service.container)
        (process,) = host.process.filter(pid=pid)
        # ps cuts long names with a plus.
        assert process.user.rstrip("+") in ("_gpuwright", host.check_output("id -u _gpuwright"))


def test_models_are_there(host: Host, plan: HostPlan) -> None:
    for model in plan.model_store.models:
        assert host.file(model.entry).exists
        assert host.file(model.directory).user == "root"


def test_the_stamp_names_todays_plan(host: Host, plan: HostPlan) -> None:
    stamp = json.loads(host.file("/etc/gpuwright/applied.json").content_string)
    assert stamp["plan"] == plan.digest
