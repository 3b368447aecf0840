"""Ansible reads inventories/*.py: the same hosts, groups and data, Ansible's words for how to connect, one message."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyinfra.api.arguments import all_global_arguments
from pyinfra.connectors.ssh import connector_data_meta

from gpuwright.ansible.host_vars import KNOWN, host_vars
from gpuwright.ansible.inventory_plugin import wants
from gpuwright.inventory import load
from gpuwright.paths import ROOT

ACCEPT_NEW = "-o StrictHostKeyChecking=accept-new"
HOME = Path.home()


def ansible(program: str, *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """One of Ansible's commands with the plugin enabled, and no other configuration."""
    (cwd / "ansible.cfg").touch()
    return subprocess.run(
        [str(Path(sys.executable).with_name(program)), *arguments],
        cwd=cwd,
        env={
            **{key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")},
            "ANSIBLE_CONFIG": str(cwd / "ansible.cfg"),
            "ANSIBLE_INVENTORY_PLUGINS": str(ROOT / "playbooks/inventory_plugins"),
            "ANSIBLE_INVENTORY_ENABLED": "gpuwright,host_list,script,auto,yaml,ini,toml",
            "COLUMNS": "1000",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def listed(path: Path, cwd: Path, **environment: str) -> dict[str, dict[str, object]]:
    """What ansible-inventory prints, without its marks for text that is no template."""
    child = ansible("ansible-inventory", "-i", str(path), "--list", cwd=cwd, **environment)
    assert child.returncode == 0, child.stderr
    unmarked: dict[str, dict[str, object]] = json.loads(
        child.stdout, object_hook=lambda value: value.get("__ansible_unsafe", value)
    )
    return unmarked


def variables(document: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    found = document["_meta"]["hostvars"]
    assert isinstance(found, dict)
    return found


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_ansible_has_the_hosts_groups_and_data_of_the_lab(tmp_path: Path) -> None:
    lab = ROOT / "inventories/lab.py"
    document = listed(lab, tmp_path)
    declared = load(lab).hosts
    connection = {
        "ansible_become": True,
        "ansible_become_method": "sudo",
        "ansible_ssh_common_args": ACCEPT_NEW,
    }
    assert variables(document) == {
        name: {
            **{key: value for key, value in host.data.items() if key not in ("_sudo", "ssh_hostname")},
            **connection,
            "ansible_host": host.data["ssh_hostname"],
        }
        for name, host in declared.items()
    }
    groups = {group for host in declared.values() for group in host.groups if group != "all"}
    assert {"nvidia", "amd", "cpu", "lab"} <= groups
    for group in groups:
        members = [name for name, host in declared.items() if group in host.groups]
        assert document[group]["hosts"] == members
    assert set(document["all"]["children"]) == groups | {"ungrouped"}  # type: ignore[call-overload]


def test_what_an_inventory_prints_goes_to_the_reader_and_not_into_the_answer(tmp_path: Path) -> None:
    path = written(
        tmp_path / "loud.py",
        "import os, subprocess\nprint('{ chatter')\nsubprocess.run(['echo', 'of a child'])\n"
        "os.write(1, b'raw')\nhosts = ['a']\n",
    )
    child = ansible("ansible-inventory", "-i", str(path), "--list", cwd=tmp_path)
    assert list(variables(json.loads(child.stdout))) == ["a"]
    assert "{ chatter" in child.stderr and "of a child" in child.stderr


def test_text_is_never_a_template(tmp_path: Path) -> None:
    note = "{{ 1 + 1 }} {% raw %} ü ☃ ' \" $HOME\n#}"
    path = written(
        tmp_path / "odd.py",
        f"hosts = [('a b', {{'note': {note!r}, 'ssh_user': '{{{{ 1 + 1 }}}}', 'deep': [{{'x': {note!r}}}]}})]\n",
    )
    assert variables(listed(path, tmp_path))["a b"]["note"] == note
    shown = ansible(
        "ansible", "-i", str(path), "all", "-m", "debug", "-a", "msg={{ [note, deep[0].x] }}", cwd=tmp_path
    )
    assert json.loads(shown.stdout.partition("=>")[2]) == {"msg": [note, note]}
    # The connection plugin gets its options in another way than a task.
    tried = ansible(
        "ansible", "-i", str(path), "all", "-m", "raw", "-a", "id", "-vvvv", cwd=tmp_path,
        ANSIBLE_SSH_EXECUTABLE="/bin/false",
    )  # fmt: skip
    assert 'User="{{ 1 + 1 }}"' in tried.stdout


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            {"ssh_hostname": "10.0.0.1", "ssh_port": 2222, "ssh_user": "ops", "ssh_password": "p w"},
            {
                "ansible_host": "10.0.0.1",
                "ansible_port": 2222,
                "ansible_user": "ops",
                "ansible_password": "p w",
                "ansible_ssh_common_args": ACCEPT_NEW,
            },
        ),
        (
            {"ssh_key": "~/a key"},
            {
                "ansible_ssh_private_key_file": f"{HOME}/a key",
                "ansible_ssh_common_args": f"{ACCEPT_NEW} -o IdentitiesOnly=yes",
            },
        ),
        (
            {"ssh_strict_host_key_checking": "yes", "ssh_config_file": "~/c", "ssh_forward_agent": False},
            {
                "ansible_ssh_common_args": f"-F {HOME}/c -o StrictHostKeyChecking=yes -o ForwardAgent=no",
            },
        ),
        (
            {"ssh_allow_agent": False, "ssh_look_for_keys": False, "ssh_connect_retries": 3},
            {
                "ansible_ssh_retries": 3,
                "ansible_ssh_common_args": f"{ACCEPT_NEW} -o IdentityAgent=none -o IdentityFile=none",
            },
        ),
        (
            {"ansible_ssh_common_args": "-o ProxyJump=bastion"},
            {"ansible_ssh_common_args": f"-o ProxyJump=bastion {ACCEPT_NEW}"},
        ),
        (
            {"_sudo": True, "_sudo_user": "svc", "_sudo_password": "x", "_use_sudo_login": True},
            {
                "ansible_become": True,
                "ansible_become_method": "sudo",
                "ansible_become_user": "svc",
                "ansible_become_password": "x",
                "ansible_become_flags": "-H -S -n -i",
                "ansible_ssh_common_args": ACCEPT_NEW,
            },
        ),
        (
            {"_su_user": "root", "_su_password": "x", "_su_shell": "/bin/sh", "_sudo": False},
            {
                "ansible_become": True,
                "ansible_become_method": "su",
                "ansible_become_user": "root",
                "ansible_become_password": "x",
                "ansible_become_flags": "-s /bin/sh",
                "ansible_ssh_common_args": ACCEPT_NEW,
            },
        ),
        (
            {"_doas": True, "_doas_user": "root"},
            {
                "ansible_become": True,
                "ansible_become_method": "community.general.doas",
                "ansible_become_user": "root",
                "ansible_ssh_common_args": ACCEPT_NEW,
            },
        ),
        ({"_sudo": False}, {"ansible_become": False, "ansible_ssh_common_args": ACCEPT_NEW}),
        (
            {"_secret": "mine", "rack": (1, Path("/x")), "base_timezone": "UTC", "nothing": None},
            {
                "_secret": "mine",
                "rack": [1, "/x"],
                "base_timezone": "UTC",
                "nothing": None,
                "ansible_ssh_common_args": ACCEPT_NEW,
            },
        ),
    ],
)
def test_host_data_becomes_variables(data: dict[str, object], expected: dict[str, object]) -> None:
    host = host_vars("a", data)
    assert (host.variables, host.refusals, host.warnings) == (expected, [], [])


def test_ssh_understands_paths_with_blanks_and_percent_signs(tmp_path: Path) -> None:
    data = {"ssh_known_hosts_file": f"{tmp_path}/known hosts 100%h", "ssh_key": f"{tmp_path}/key %d"}
    host = host_vars("a", data).variables
    command = f"ssh -G -o 'IdentityFile=\"{host['ansible_ssh_private_key_file']}\"' {host['ansible_ssh_common_args']} a"
    shown = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
    options = dict(line.partition(" ")[::2] for line in shown.splitlines())
    assert options["stricthostkeychecking"] == "accept-new"
    assert options["userknownhostsfile"].replace("%%", "%") == data["ssh_known_hosts_file"]
    assert options["identityfile"].replace("%%", "%") == data["ssh_key"]


@pytest.mark.parametrize(
    ("name", "data", "subject"),
    [
        ("@docker/web", {}, "host @docker/web"),
        ("@replay/x", {}, "host @replay/x"),
        ("a", {"_sudo": True, "_su_user": "root"}, "host a"),
        ("a", {"ssh_paramiko_connect_kwargs": {"x": 1}}, "host a, ssh_paramiko_connect_kwargs"),
        ("a", {"_env": {"A": "b"}}, "host a, _env"),
        ("a", {"ssh_strict_host_key_checking": True}, "host a, ssh_strict_host_key_checking"),
        ("a", {"ssh_known_hosts_file": 'a"b'}, "host a, ssh_known_hosts_file"),
        ("a", {"ssh_hostname": "x", "ansible_host": "y"}, "host a, ansible_host"),
        ("a", {"inference_services": [{1: 2}]}, "host a, inference_services"),
        ("a", {"base_timezone": object()}, "host a, base_timezone"),
    ],
)
def test_what_ansible_would_do_otherwise_is_refused(name: str, data: dict[str, object], subject: str) -> None:
    assert [refusal.subject for refusal in host_vars(name, data).refusals] == [subject]


@pytest.mark.parametrize(
    ("data", "warning"),
    [
        ({"ssh_key_password": "hunter2"}, "host a, ssh_key_password: left out"),
        ({"_retries": 3}, "host a, _retries: left out"),
        ({"ssh_hostnam": "x"}, "host a, ssh_hostnam: it has no effect; did you mean ssh_hostname?"),
        ({"_sudo_pasword": "hunter2"}, "did you mean _sudo_password?"),
        ({"rack": {1, 2}}, "host a, rack: left out under Ansible; it holds a value of type set"),
    ],
)
def test_what_has_no_effect_is_said(data: dict[str, object], warning: str) -> None:
    host = host_vars("a", data)
    assert host.refusals == []
    (said,) = host.warnings
    assert warning in said and "hunter2" not in said


def test_a_helper_function_of_group_data_is_nobodys_variable() -> None:
    host = host_vars("a", {"helper": lambda: 1})
    assert "helper" not in host.variables and host.warnings == [] and host.refusals == []


def test_every_word_of_pyinfra_is_known() -> None:
    words = {*connector_data_meta, *(key for key, _ in all_global_arguments() if key.startswith("_"))}
    assert words - KNOWN == set()


def test_secrets_stay_out_of_repr() -> None:
    assert "hunter2" not in repr(host_vars("a", {"ssh_password": "hunter2"}))


def test_names_that_ansible_cannot_have(tmp_path: Path) -> None:
    path = written(
        tmp_path / "my-lab.py",
        "nas = ['nas', '@local', '@ssh/box']\nother = ['nas']\n"
        "all = (nas, {'hostvars': 1, 'inventory_hostname': 'x', 'rack': 2})\n",
    )
    child = ansible("ansible-inventory", "-i", str(path), "--list", cwd=tmp_path)
    document = json.loads(child.stdout, object_hook=lambda value: value.get("__ansible_unsafe", value))
    assert document["my_lab"]["hosts"] == ["nas", "localhost", "box"]
    assert document["other"]["hosts"] == ["nas"]
    assert "nas" not in document
    found = variables(document)
    assert found["localhost"] == {"ansible_connection": "local", "rack": 2}
    assert found["box"] == {"ansible_host": "box", "ansible_ssh_common_args": ACCEPT_NEW, "rack": 2}
    assert "group my-lab is called my_lab under Ansible" in child.stderr
    assert "group nas is left out under Ansible; a host has this name" in child.stderr
    assert "host nas, hostvars: left out" in child.stderr


def test_a_host_that_another_inventory_calls_a_group_is_refused(tmp_path: Path) -> None:
    first = written(tmp_path / "first.yml", "nas: {hosts: {x: }}\n")
    second = written(tmp_path / "second.py", "hosts = ['nas']\n")
    child = ansible("ansible-inventory", "-i", str(first), "-i", str(second), "--list", cwd=tmp_path)
    assert child.returncode == 4
    assert "host nas: a group of another inventory has this name" in child.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hosts = [\n", "bad.py, line 1: syntax error"),
        ("PASSWORD = 'hunter2'\nhosts = [('a', {'_sudo_password': PASSWORD})]\n1 / 0\n", "bad.py, line 3"),
        ("hosts = [('a', {'_sudo_password': 'hunter2', '_env': {'A': 'hunter2'}})]\n", "host a, _env"),
        ("", "it declares no host"),
        ("hosts\n", "bad.py, line 1: NameError"),
        ("hosts = ['@local', 'localhost']\n", "host localhost: two hosts have this name"),
        ("import os\nos._exit(3)\n", "reading it ended with exit code 3"),
    ],
)
def test_a_wrong_inventory_is_one_message(tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path / "bad.py", text)
    good = written(tmp_path / "good.yml", "all: {hosts: {fine: }}\n")
    child = ansible("ansible-inventory", "-i", str(path), "-i", str(good), "--list", cwd=tmp_path)
    assert child.returncode == 4
    assert child.stdout == ""
    assert said in child.stderr
    assert child.stderr.count("[ERROR]") == 1
    for noise in ("Traceback", "[WARNING]", "plugin", "hunter2"):
        assert noise not in child.stderr


def test_a_broken_group_data_file_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "lab.py", "gpus = ['a']\n")
    (tmp_path / "group_data").mkdir()
    (tmp_path / "group_data/gpus.py").write_text("x = 1\nx = = 2\n")
    child = ansible("ansible-inventory", "-i", str(path), "--list", cwd=tmp_path)
    assert "gpus.py, line 2: syntax error" in child.stderr


def test_programs_and_other_files_are_left_to_ansible(tmp_path: Path) -> None:
    program = written(tmp_path / "program.py", '#!/bin/sh\necho \'{"g": {"hosts": ["by-program"]}}\'\n')
    program.chmod(0o755)
    assert listed(program, tmp_path)["g"]["hosts"] == ["by-program"]
    other = written(tmp_path / "hosts.ini", "[g]\nby-ini\n")
    assert listed(other, tmp_path)["g"]["hosts"] == ["by-ini"]
    (tmp_path / "group_data").mkdir()
    assert not wants(str(written(tmp_path / "group_data/all.py", "x = 1\n")))


def test_the_checkout_wins_over_what_else_is_called_gpuwright(tmp_path: Path) -> None:
    other = tmp_path / "other"
    for name in ("gpuwright", "json"):
        (other / name).mkdir(parents=True)
        (other / name / "__init__.py").write_text("raise RuntimeError('the wrong one')\n")
    path = written(other / "lab.py", "hosts = ['a']\n")
    (other / "json").rename(tmp_path / "json")  # where the command runs
    assert list(variables(listed(path, tmp_path, PYTHONPATH=str(other)))) == ["a"]


def test_ansibles_process_gets_neither_pyinfra_nor_gevent() -> None:
    program = (
        "import sys, gpuwright.ansible.inventory_plugin; print(*{'pyinfra', 'gevent'} & set(sys.modules))"
    )
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == ""
