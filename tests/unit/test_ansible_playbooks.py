"""The Ansible door as its own tools see it: playbooks, ansible.cfg, documentation, lint."""

from __future__ import annotations

import ast
import configparser
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(sys.executable).parent
PLAYBOOKS = ("playbooks/site.yml", "playbooks/verify.yml", "playbooks/drift.yml")
MODULES = ("gpuwright_role", "gpuwright_verify", "gpuwright_drift")
ROLES = [
    "base",
    "kernel",
    "nvidia_driver",
    "rocm",
    "container_engine",
    "gpu_runtime",
    "interconnect",
    "power",
    "model_store",
    "inference",
]

# In place of the action plugin: it notes what it was asked for, and fails for role `broken` on host a.
PLUGIN = """
from pathlib import Path
from ansible.plugins.action import ActionBase

class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        host, role = task_vars["inventory_hostname"], self._task.args["name"]
        with Path(task_vars["asked"]).open("a") as file:
            file.write(f"{host} {role}\\n")
        return {"changed": True, "failed": host == "a" and role == task_vars.get("broken")}
"""


@pytest.fixture
def hosts(tmp_path: Path) -> str:
    """An inventory of two hosts."""
    path = tmp_path / "hosts.ini"
    path.write_text("[all]\na ansible_connection=local\nb ansible_connection=local\n")
    return str(path)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what Ansible reads, with the stand-in as its action plugin."""
    copy = tmp_path / "checkout"
    shutil.copytree(ROOT / "roles", copy / "roles", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (copy / "playbooks" / "action_plugins").mkdir(parents=True)
    (copy / "playbooks" / "action_plugins" / "gpuwright_role.py").write_text(PLUGIN)
    shutil.copy(ROOT / "playbooks" / "site.yml", copy / "playbooks")
    shutil.copy(ROOT / "ansible.cfg", copy)
    return copy


def run(
    tmp_path: Path, tool: str, *arguments: str, cwd: Path = ROOT, code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run one of Ansible's tools with this interpreter's installation, writing nothing outside of tmp_path."""
    mine = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    home = str(tmp_path / "ansible")
    done = subprocess.run(
        [str(TOOLS / tool), *arguments],
        cwd=cwd,
        env={**mine, "PATH": f"{TOOLS}:{mine['PATH']}", "HOME": home, "ANSIBLE_HOME": home, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, f"{done.args}\n{done.stdout}\n{done.stderr}"
    return done


def asked(checkout: Path, tmp_path: Path, hosts: str, *arguments: str, code: int = 0) -> dict[str, list[str]]:
    """The steps that a run of site.yml asks for, by host."""
    notes = tmp_path / "asked"
    notes.touch()
    site = ("playbooks/site.yml", "-i", hosts, "-e", f"asked={notes}", *arguments)
    run(tmp_path, "ansible-playbook", *site, cwd=checkout, code=code)
    steps: dict[str, list[str]] = {"a": [], "b": []}
    for line in notes.read_text().splitlines():
        host, step = line.split()
        steps[host].append(step)
    return steps


def site() -> dict[str, Any]:
    """The one play of site.yml."""
    (play,) = yaml.safe_load((ROOT / "playbooks" / "site.yml").read_text())
    return dict(play)


def sequence_of_deploy() -> list[str]:
    """What converge() in deploy.py calls, in order, after the run lock."""
    tree = ast.parse((ROOT / "deploy.py").read_text())
    (converge,) = (
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "converge"
    )
    calls = [
        ast.unparse(node.value.func)
        for node in converge.body
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ]
    return calls[calls.index("run_lock.held") + 1 :]


def test_site_is_the_sequence_of_deploy() -> None:
    steps = [role["role"] for role in site()["roles"]]
    steps += [task["gpuwright_role"]["name"] for task in site()["post_tasks"]]
    assert [step.replace("stamp.applied", "stamp") for step in sequence_of_deploy()] == steps


def test_each_role_has_its_name_as_its_only_tag() -> None:
    assert [role["tags"] for role in site()["roles"]] == [[role["role"]] for role in site()["roles"]]


def test_the_stamp_asks_for_every_role() -> None:
    (stamp,) = site()["post_tasks"]
    assert "tags" not in stamp
    registered = [
        yaml.safe_load((ROOT / f"roles/{role['role']}/tasks/main.yml").read_text())[0]["register"]
        for role in site()["roles"]
    ]
    assert stamp["when"] == [
        f"{name} is defined and {name} is success and {name} is not skipped" for name in registered
    ]


def test_a_whole_run_ends_with_the_stamp(checkout: Path, tmp_path: Path, hosts: str) -> None:
    steps = asked(checkout, tmp_path, hosts, "-e", "gpuwright_serial=1")
    assert steps == {"a": [*ROLES, "stamp"], "b": [*ROLES, "stamp"]}


@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        (("--tags", "inference"), ["inference"]),
        (("--skip-tags", "model_store"), [role for role in ROLES if role != "model_store"]),
        (("--start-at-task", "model_store : Bring the host to its plan"), ["model_store", "inference"]),
    ],
    ids=lambda value: value[0],
)
def test_a_run_without_a_role_writes_no_stamp(
    arguments: tuple[str, ...], steps: list[str], checkout: Path, tmp_path: Path, hosts: str
) -> None:
    assert asked(checkout, tmp_path, hosts, *arguments) == {"a": steps, "b": steps}


def test_a_host_that_fails_gets_no_stamp_and_stops_nobody(checkout: Path, tmp_path: Path, hosts: str) -> None:
    steps = asked(checkout, tmp_path, hosts, "-e", "broken=container_engine", code=2)
    assert steps == {"a": ROLES[: ROLES.index("container_engine") + 1], "b": [*ROLES, "stamp"]}


def test_a_wrong_choice_is_refused_before_anything_connects(
    checkout: Path, tmp_path: Path, hosts: str
) -> None:
    assert asked(checkout, tmp_path, hosts, "-e", "base_memlock=everyone", code=2) == {"a": [], "b": []}


def test_playbooks_parse_and_list_what_they_would_do(tmp_path: Path, hosts: str) -> None:
    listed = run(
        tmp_path, "ansible-playbook", "-i", hosts, *PLAYBOOKS, "--list-hosts", "--list-tags", "--list-tasks"
    )
    assert listed.stdout.count("hosts (2):") == len(PLAYBOOKS)
    assert (
        "TASK TAGS: [always, base, container_engine, gpu_runtime, inference, interconnect, kernel, model_store, "
        "nvidia_driver, power, rocm]" in listed.stdout
    )
    run(tmp_path, "ansible-playbook", "-i", hosts, *PLAYBOOKS, "--syntax-check")


def test_the_example_inventory_works_with_site(tmp_path: Path) -> None:
    example = ("-i", "inventories/lab.py", "playbooks/site.yml")
    run(tmp_path, "ansible-playbook", *example, "--syntax-check")
    listed = run(tmp_path, "ansible-playbook", *example, "--list-hosts")
    assert "hosts (5):" in listed.stdout and "nv1" in listed.stdout


@pytest.mark.parametrize("path", PLAYBOOKS)
def test_hosts_need_no_python(path: str) -> None:
    for play in yaml.safe_load((ROOT / path).read_text()):
        assert play["gather_facts"] is False
        assert play["become"] is True


def test_a_bare_run_touches_no_host() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "ansible.cfg")
    assert "inventory" not in config["defaults"]
    for key in ("roles_path", "library", "action_plugins", "inventory_plugins"):
        assert (ROOT / config["defaults"][key]).is_dir(), key


def test_ansible_knows_every_setting_of_ansible_cfg(tmp_path: Path) -> None:
    run(tmp_path, "ansible-config", "validate", "-t", "all")


def test_modules_are_documented(tmp_path: Path) -> None:
    told = run(tmp_path, "ansible-doc", "-t", "module", *MODULES)
    assert "WARNING" not in told.stderr
    assert "ERROR" not in told.stderr
    documents = json.loads(run(tmp_path, "ansible-doc", "--json", "-t", "module", *MODULES).stdout)
    options = {name: list(document["doc"]["options"]) for name, document in documents.items()}
    assert options == {"gpuwright_role": ["name"], "gpuwright_verify": ["fast"], "gpuwright_drift": []}
    choices = documents["gpuwright_role"]["doc"]["options"]["name"]["choices"]
    assert sorted(choices) == sorted(
        [*(path.parent.name for path in (ROOT / "roles").glob("*/__init__.py")), "stamp"]
    )
    for document in documents.values():
        yaml.safe_load(document["examples"])
        assert document["doc"]["attributes"]["async"]["support"] == "none"
        assert document["doc"]["has_action"] is True


def test_roles_are_documented(tmp_path: Path) -> None:
    roles = json.loads(run(tmp_path, "ansible-doc", "--json", "-t", "role", "-r", "roles", *ROLES).stdout)
    assert set(roles) == set(ROLES)
    assert all("error" not in role for role in roles.values())


def test_lint(tmp_path: Path) -> None:
    run(tmp_path, "ansible-lint", "--offline", "-q")
