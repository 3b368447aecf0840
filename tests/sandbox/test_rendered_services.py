"""What would be written on every machine of the fleet, given to the parsers that will read it.

The files themselves are golden in tests/fleet/<machine>/services. Devices of GPUs are left out for llama-server: a
build for the CPU refuses their names, and one for CUDA is tried by bench/device.
"""

from __future__ import annotations

import json
import subprocess

import pytest

from gpuwright.sandbox import engine as docker_engine
from tests.fleet.conftest import FLEET, FleetMachine, read
from tests.fleet.services import ENGINES, everywhere
from tests.sandbox.hosts import Sandbox
from tests.sandbox.test_deploy import pyinfra
from tests.sandbox.vllm_parser import vllm_refusals, vllm_unknown_variables

MACHINES: tuple[FleetMachine, ...] = tuple(map(read, FLEET))
HOST = "sbx1"


@pytest.fixture(scope="module")
def deployed(sandbox: Sandbox) -> Sandbox:
    """Where what units call is there."""
    assert pyinfra("-y", "--limit", HOST).returncode == 0
    return sandbox


@pytest.mark.parametrize("engine", ENGINES)
def test_systemd_takes_every_unit(deployed: Sandbox, engine: str) -> None:
    units = {name: found.unit for name, found in everywhere(MACHINES, engine)}
    folder = f"/tmp/units-{engine}"
    deployed.exec(HOST, f"rm -rf {folder}; mkdir {folder}")
    for name, text in units.items():
        write = [
            "docker",
            "exec",
            "--interactive",
            deployed.container(HOST),
            "tee",
            f"{folder}/{name}.service",
        ]
        subprocess.run(write, input=text, text=True, capture_output=True, check=True)
    done = deployed.exec(HOST, f"systemd-analyze verify {folder}/*.service")
    ours = [
        line for line in (done.stdout + done.stderr).splitlines() if folder in line or ".service:" in line
    ]
    assert done.returncode == 0 and not ours, ours
    broken = deployed.exec(
        HOST,
        f"sed 's/^ExecStart=.*/ExecStart=docker run/' {folder}/{next(iter(units))}.service > {folder}/bad.service; "
        f"systemd-analyze verify {folder}/bad.service",
    )
    assert "bad.service" in broken.stderr, "systemd-analyze finds nothing wrong with anything"


def accepted(image: str, words: tuple[str, ...], variables: dict[str, str]) -> str:
    """What llama-server's own parser has against arguments and environment, "" for nothing: --version ends it."""
    command = ["docker", "run", "--rm", "--network", "none"]
    for name, value in variables.items():
        command += ["--env", f"{name}={value}"]
    done = subprocess.run([*command, image, *words, "--version"], capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    return "" if done.returncode == 0 and "version:" in output else output or f"ended with {done.returncode}"


def test_llama_server_takes_every_command_line(deployed: Sandbox) -> None:
    image = json.loads((deployed.state_dir / "sandbox.json").read_text())["images"]["llama_cpp"]
    assert accepted(image, ("--no-such-flag",), {}) and accepted(image, ("-c", "many"), {})
    asked: dict[tuple[str, ...], str] = {}
    for name, found in everywhere(MACHINES, "llama_cpp"):
        lines = [
            found.service.arguments,
            *((*found.service.arguments, *rung) for rung in found.service.rungs),
        ]
        for line in lines:
            words = tuple(line)
            if "-dev" in words:
                place = words.index("-dev")
                words = words[:place] + words[place + 2 :]
            if words not in asked:
                asked[words] = accepted(image, words, found.variables)
            assert not asked[words], f"{name}: {' '.join(words)}\n{asked[words]}"
    assert len(asked) > 10


@pytest.mark.full
def test_vllm_takes_every_command_line_and_knows_every_variable(vllm_cpu: str) -> None:
    client = docker_engine.connect(timeout_s=900)
    lines: dict[tuple[str, ...], str] = {}
    names: set[str] = set()
    for name, found in everywhere(MACHINES, "vllm"):
        for rung in ((), *found.service.rungs):
            lines.setdefault((*found.service.arguments, *rung), name)
        names |= {each for each in found.variables if each.startswith("VLLM_")}
    refusals = vllm_refusals(client, vllm_cpu, *lines, ("/m", "--no-such-flag"))
    assert refusals.pop()
    wrong = {lines[line]: refusal for line, refusal in zip(lines, refusals, strict=True) if refusal}
    assert not wrong and len(lines) > 5
    assert vllm_unknown_variables(client, vllm_cpu, sorted(names)) == []
