"""The command line over all machines: what people and CI see of facts, plans, reasons and replayed hosts."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest

from gpuwright import catalog
from gpuwright.facts import HostFacts
from gpuwright.plan import HostPlan, plan_host
from gpuwright.settings import read_settings

ROOT = Path(__file__).resolve().parents[2]
FLEET = Path(__file__).parent
MACHINES = sorted(path.parent for path in FLEET.glob("*/machine.toml"))
RECORDED = sorted(FLEET.glob("*/recording*.json"))
BIN = Path(sys.executable).parent
CPU_S = 3.0
SBX12, SBX13 = (str(FLEET / f"sandbox-debian{version}") for version in (12, 13))


def gpuwright(*arguments: object, program: str = "gpuwright") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / program, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "200"},
        check=False,
    )


def plan_all() -> tuple[str, float]:
    """The JSON of all machines, and the CPU seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = gpuwright("plan", *(machine / "facts.json" for machine in MACHINES), "--json")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_all_machines_are_planned_alike_twice_and_soon() -> None:
    first, cpu_s = plan_all()
    second, _ = plan_all()
    assert first == second
    assert cpu_s < CPU_S
    hosts = json.loads(first)["hosts"]
    assert [host["host"] for host in hosts] == [machine.name for machine in MACHINES]
    for host, machine in zip(hosts, MACHINES, strict=True):
        settings = read_settings(tomllib.loads((machine / "machine.toml").read_text())["settings"])
        facts = HostFacts.from_json((machine / "facts.json").read_text())
        plan = plan_host(facts, settings, catalog.load())
        if isinstance(plan, HostPlan):
            assert (host["digest"], host["plan"]) == (plan.digest, plan.to_json())
        else:
            assert host["refused"] == [asdict(refusal) for refusal in plan]


def test_explain_has_a_reason_and_a_source_for_every_leaf() -> None:
    hosts = [host for host in json.loads(plan_all()[0])["hosts"] if "plan" in host]
    # One process for each would take a minute; every machine's reasons are asserted in test_fleet.py.
    chosen = max(hosts, key=lambda host: len(json.dumps(host["plan"])))
    leaves = json.loads(gpuwright("explain", FLEET / chosen["host"], "--json").stdout)["leaves"]
    assert len(leaves) > 20
    assert all(leaf["reason"] and leaf["source"] for leaf in leaves)
    text = gpuwright("explain", FLEET / chosen["host"]).stdout
    assert all(f"{leaf['path']} = " in text and leaf["reason"] in text for leaf in leaves)


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["plan", SBX13], 0, ["sandbox-debian13", "docker.io", "llama_cpp"]),
        (["plan", SBX13, SBX13, "--diff"], 0, ["the same plan"]),
        (["plan", SBX12, SBX13, "--diff"], 2, ["docker-cli", "container_engine.packages.1.name"]),
        (["plan", FLEET / "h200-no-systemd"], 1, ["init system", "Boot the host with systemd"]),
        (["plan", SBX13, "gone.json"], 1, ["docker.io", "gone.json", "No such file"]),
        (["plan", "gone.json", SBX13, "--diff"], 1, ["gone.json"]),
        (["plan", SBX13, "--set", "inference_modle=ok"], 1, ["Did you mean inference_model?"]),
        (["plan", "nohost"], 1, ["host nohost", "a declared host"]),
        (["facts", SBX13], 0, ["Debian GNU/Linux 13"]),
        (["facts", "README.md"], 1, ["README.md", "is neither"]),
        (["explain", SBX13, "inference.services.0.port"], 0, ["inference.services.0.port = 8080"]),
        (["explain", SBX13, "inference.servces"], 1, ["Did you mean inference.services"]),
        (["explain", FLEET / "h200-no-systemd"], 1, ["init system"]),
        (["plan"], 64, ["Missing argument"]),
        (["plan", SBX13, "--diff"], 64, ["compares two hosts, not 1"]),
        (["plan", SBX13, "--set", "novalue"], 64, ["is not KEY=VALUE"]),
        (["explain", "inventories/recorded.py"], 64, ["name one of them"]),
        (["plan", "inventories/recorded.py", "--limit", "nobody"], 64, ["nobody"]),
        (["record", "nohost", "/nowhere"], 1, ["host nohost"]),
    ],
    ids=lambda value: " ".join(map(str, value)).replace(str(ROOT), "") if isinstance(value, list) else None,
)
def test_what_is_said_and_how_it_ends(arguments: list[object], code: int, parts: list[str]) -> None:
    done = gpuwright(*arguments)
    text = done.stdout + done.stderr
    assert done.returncode == code, text
    assert all(part in text for part in parts), text
    assert "Traceback" not in text


def test_facts_as_json_are_a_facts_file(tmp_path: Path) -> None:
    copy = tmp_path / "facts.json"
    copy.write_text(gpuwright("facts", SBX13, "--json").stdout)
    again = gpuwright("facts", copy, "--json").stdout
    assert again == copy.read_text()
    several = json.loads(gpuwright("facts", SBX12, copy, "--json").stdout)
    assert [host["host"] for host in several["hosts"]] == ["sandbox-debian12", tmp_path.name]


def test_a_recorded_host_is_planned_by_pyinfra_without_it() -> None:
    done = gpuwright("inventories/recorded.py", "deploy.py", "--dry", program="pyinfra")
    assert done.returncode == 0, done.stdout + done.stderr
    for path in RECORDED:
        assert f"@replay/{path.parent.name}{path.stem.removeprefix('recording')}" in done.stdout + done.stderr


def test_a_recorded_deploy_has_nothing_left_to_do() -> None:
    done = gpuwright("drift", "inventories/recorded.py", "--json")
    hosts = json.loads(done.stdout)["hosts"]
    assert [host["reasons"] for host in hosts] == [[] for _ in RECORDED], "record it again: gpuwright record"
    changes = {
        host["host"]: {
            f"{each['role']} | {each['operation']}" for each in host["operations"] if each["status"] != "ok"
        }
        for host in hosts
    }
    after = {name: found for name, found in changes.items() if name.endswith("_after")}
    before = {name: found for name, found in changes.items() if not name.endswith("_after")}
    assert after and before
    # The stamp holds the plan's digest, which a newer catalogue may change; the host itself is as it should be.
    assert all(found <= {" | Stamp"} for found in after.values()), after
    assert all({"Inference | Services", "Container engine | Packages"} <= found for found in before.values())
