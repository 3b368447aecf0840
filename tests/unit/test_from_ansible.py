"""A pyinfra inventory made of an Ansible inventory: the same hosts, groups and data, or a sentence why not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpuwright.ansible.host_data import host_data
from gpuwright.ansible.listing import decrypted
from gpuwright.errors import GpuwrightError
from gpuwright.inventory import Inventory, load
from gpuwright.paths import ROOT

OURS = """
from gpuwright.from_ansible import groups

globals().update(groups({source!r}, beside=__file__))
"""
SECRETS = """
hosts = [("a", {
    "ssh_password": "p {{ 1 + 1 }} ' \\" $HOME %",
    "ssh_hostname": "10.0.0.1",
    "ssh_port": 2222,
    "ssh_user": "ops",
    "ssh_key": "/home/o p/key 100%",
    "ssh_known_hosts_file": "/home/o p/known",
    "ssh_strict_host_key_checking": "yes",
    "ssh_forward_agent": True,
    "ssh_config_file": "/home/o p/config",
    "ssh_connect_retries": 2,
    "ssh_file_transfer_protocol": "scp",
    "_sudo": True,
    "_sudo_user": "svc",
    "_sudo_password": "{{ ü }}",
    "_preserve_sudo_env": True,
    "_shell_executable": "/bin/sh",
    "note": "{% line 1\\nline 2 #}",
    "deep": {"list": [1, 2.5, None, True, "{{ x }}"]},
}), ("b", {"_su_user": "root", "_sudo": False, "_su_password": "x", "_use_su_login": True}),
("c", {"_doas": True, "_sudo": False}), ("@local", {"x": 1}),
("d", {"ssh_allow_agent": False, "ssh_look_for_keys": False, "_sudo": False})]
gpus = ["b", "a"]
"""


@pytest.fixture(autouse=True)
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ansible with the inventory plugin, and without what a developer has configured."""
    for name in [name for name in os.environ if name.startswith("ANSIBLE_")]:
        monkeypatch.delenv(name)
    (tmp_path / "ansible.cfg").touch()
    monkeypatch.setenv("ANSIBLE_CONFIG", str(tmp_path / "ansible.cfg"))
    monkeypatch.setenv("ANSIBLE_INVENTORY_PLUGINS", str(ROOT / "playbooks/inventory_plugins"))
    monkeypatch.setenv("ANSIBLE_INVENTORY_ENABLED", "gpuwright,host_list,script,auto,yaml,ini,toml")
    monkeypatch.chdir(tmp_path)
    decrypted.cache_clear()


def from_ansible(directory: Path, text: str, name: str = "hosts.yml") -> Inventory:
    """`text` as an Ansible inventory, read through an inventory file of ours beside it."""
    (directory / name).write_text(text)
    ours = directory / "ours.py"
    ours.write_text(OURS.format(source=name))
    return load(ours)


def ansible(program: str, *arguments: str, stdin: str = "") -> str:
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("form", ["program", "--yaml", "--export --yaml"])
@pytest.mark.parametrize("original", ["lab", "secrets"])
def test_there_and_back(tmp_path: Path, original: str, form: str) -> None:
    source = ROOT / "inventories/lab.py"
    if original == "secrets":
        source = tmp_path / "secrets.py"
        # Ansible's YAML writer forgets what is no template.
        source.write_text(SECRETS if form == "program" else SECRETS.replace("{{", "{").replace("{%", "{"))
    if form == "program":
        answer = tmp_path / "answer.json"
        answer.write_text(ansible("ansible-inventory", "-i", str(source), "--list"))
        program = tmp_path / "hosts"
        program.write_text(f"#!/bin/sh\ncat {answer}\n")
        program.chmod(0o755)
        back = from_ansible(tmp_path, program.read_text(), "hosts")
    else:
        exported = ansible("ansible-inventory", "-i", str(source), "--list", *form.split())
        back = from_ansible(tmp_path, exported)
    declared = load(source)
    assert {name: dict(host.data) for name, host in back.hosts.items()} == {
        name: dict(host.data) for name, host in declared.hosts.items()
    }
    assert {name: set(host.groups) - {"ours"} for name, host in back.hosts.items()} == {
        name: set(host.groups) for name, host in declared.hosts.items()
    }


def test_pyinfra_itself_reads_it(tmp_path: Path) -> None:
    text = "gpus: {hosts: {n1: {ansible_host: 10.0.0.1, base_timezone: UTC, list: [1, {a: b}]}, n2: }}\n"
    inventory = from_ansible(tmp_path, text)
    shown = subprocess.run(
        [str(Path(sys.executable).with_name("pyinfra")), "ours.py", "debug-inventory"],
        capture_output=True,
        text=True,
        check=True,
    )
    first, second = (shown.stdout + shown.stderr).split("[n2]")
    for name, part in (("n1", first.partition("[n1]")[2]), ("n2", second)):
        assert "gpus" in part
        data, _ = json.JSONDecoder().raw_decode(part[part.index("{") :])
        assert data == dict(inventory.host(name).data)
    assert inventory.host("n1").data == {
        "ssh_hostname": "10.0.0.1",
        "base_timezone": "UTC",
        "list": [1, {"a": "b"}],
    }


def test_groups_have_their_childrens_hosts_and_hosts_their_groups_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_INVENTORY_EXPORT", "true")  # would leave a group's variables with the group
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/gpus.yml").write_text("level: gpus\nonly: 1\n")
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars/z9.yml").write_text("level: host\n")
    inventory = from_ansible(
        tmp_path,
        "[zeta]\nz9\nz[1:2] ansible_port=2222\n[alpha]\na1 ansible_become=yes\n[gpus:children]\nzeta\nalpha\n"
        "[all:vars]\nansible_user=ops\n",
        "hosts.ini",
    )
    assert inventory.names == ("z9", "z1", "z2", "a1")
    assert set(inventory.host("a1").groups) == {"alpha", "gpus", "ours"}
    common = {"ssh_user": "ops", "only": 1}
    assert dict(inventory.host("z9").data) == {**common, "level": "host"}
    assert dict(inventory.host("z1").data) == {**common, "level": "gpus", "ssh_port": 2222}
    assert dict(inventory.host("a1").data) == {**common, "level": "gpus", "_sudo": True}


def test_group_data_beside_it_counts_where_ansible_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "group_data").mkdir()
    (tmp_path / "group_data/gpus.py").write_text("_sudo = True\nlevel = 'ours'\n")
    inventory = from_ansible(tmp_path, "gpus: {hosts: {a: {level: theirs}}}\n")
    assert dict(inventory.host("a").data) == {"_sudo": True, "level": "theirs"}


def test_variables_beside_playbooks(tmp_path: Path) -> None:
    (tmp_path / "plays/group_vars").mkdir(parents=True)
    (tmp_path / "plays/group_vars/all.yml").write_text("base_timezone: UTC\n")
    (tmp_path / "hosts.yml").write_text("all: {hosts: {a: }}\n")
    ours = tmp_path / "ours.py"
    ours.write_text(OURS.format(source="hosts.yml").replace("__file__", "__file__, playbook_dir='plays'"))
    assert dict(load(ours).host("a").data) == {"base_timezone": "UTC"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"ansible_ssh_host": "x", "ansible_ssh_port": "22"}, {"ssh_hostname": "x", "ssh_port": 22}),
        ({"ansible_ssh_user": "ops", "ansible_ssh_pass": "p"}, {"ssh_user": "ops", "ssh_password": "p"}),
        ({"ansible_private_key_file": "~/k%%1"}, {"ssh_key": "~/k%1"}),
        ({"ansible_connection": "ansible.builtin.ssh"}, {}),
        ({"ansible_host_key_checking": False}, {"ssh_strict_host_key_checking": "no"}),
        (
            {
                "ansible_become": "yes",
                "ansible_become_pass": "p",
                "ansible_become_method": "ansible.builtin.sudo",
            },
            {"_sudo": True, "_sudo_password": "p"},
        ),
        ({"ansible_become": False, "ansible_become_method": "su"}, {"_sudo": False}),
        (
            {"ansible_become_method": "su", "ansible_become_flags": "-l -s /bin/sh"},
            {"_sudo": False, "_su_user": "root", "_use_su_login": True, "_su_shell": "/bin/sh"},
        ),
        (
            {
                "ansible_ssh_common_args": "-C -o ControlPersist=60s -oUserKnownHostsFile='\"/a b\"' -o 'Port 2'"
            },
            {"ssh_known_hosts_file": "/a b", "ssh_port": 2},
        ),
        (
            {
                "ansible_ssh_args": "-o StrictHostKeyChecking=no -F /c -A -i /k",
                "ansible_ssh_extra_args": "-o StrictHostKeyChecking=yes",
            },
            {
                "ssh_strict_host_key_checking": "no",
                "ssh_config_file": "/c",
                "ssh_forward_agent": True,
                "ssh_key": "/k",
            },
        ),
        (
            {"ansible_python_interpreter": "/usr/bin/python3", "ansible_ssh_pipelining": True, "rack": 7},
            {"ansible_python_interpreter": "/usr/bin/python3", "ansible_ssh_pipelining": True, "rack": 7},
        ),
        ({"ansible_ssh_host_key_rsa_public": "AAAA"}, {"ansible_ssh_host_key_rsa_public": "AAAA"}),
        ({"ssh_port": 2222, "_sudo": True, "ssh_banner": "mine"}, {"ssh_banner": "mine"}),
    ],
)
def test_ansibles_words_become_pyinfras(variables: dict[str, object], expected: dict[str, object]) -> None:
    assert host_data("a", variables) == ("a", expected)


def test_a_local_connection_is_this_machine() -> None:
    variables = {"ansible_connection": "local", "ansible_host": "x", "ansible_become": True, "rack": 7}
    assert host_data("web", variables) == ("@local", {"_sudo": True, "rack": 7})


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({"ansible_connection": "community.docker.docker"}, ["ansible_connection"]),
        ({"ansible_host": "x", "ansible_ssh_host": "y"}, [""]),
        ({"ansible_ssh_common_args": "-o ProxyJump=bastion"}, ["ansible_ssh_common_args"]),
        ({"ansible_ssh_common_args": "-J bastion"}, ["ansible_ssh_common_args"]),
        ({"ansible_ssh_extra_args": "-o 'ProxyCommand=ssh -W hunter2 b'"}, ["ansible_ssh_extra_args"]),
        ({"ansible_ssh_common_args": "-o 'x"}, ["ansible_ssh_common_args"]),
        ({"ansible_ssh_private_key": "hunter2"}, ["ansible_ssh_private_key"]),
        ({"ansible_private_key_file": "%d/key"}, ["ansible_ssh_private_key_file"]),
        ({"ansible_become_method": "community.general.pfexec"}, ["ansible_become_method"]),
        ({"ansible_become": "perhaps"}, ["ansible_become"]),
        ({"ansible_become_flags": "-HE"}, ["ansible_become_flags"]),
        ({"ansible_become_exe": "/opt/sudo"}, ["ansible_become_exe"]),
        ({"ansible_port": "ssh", "ansible_become_exe": "x"}, ["ansible_become_exe", "ansible_port"]),
    ],
)
def test_what_pyinfra_would_do_otherwise_is_refused(variables: dict[str, object], names: list[str]) -> None:
    with pytest.raises(GpuwrightError) as caught:
        host_data("a", variables)
    subjects = [refusal.subject for refusal in caught.value.refusals]
    assert subjects == [f"host a, {name}" if name else "host a" for name in names]
    assert "hunter2" not in str(caught.value)


def test_templates_are_refused_where_they_count_and_left_out_elsewhere(tmp_path: Path) -> None:
    text = """
all:
  hosts:
    a:
      ansible_host: "{{ inventory_hostname }}.lab"
      inference_services: [{name: "{{ service }}"}]
      motd: "{{ greeting }}"
      rack: 7
"""
    with pytest.raises(GpuwrightError) as caught:
        from_ansible(tmp_path, text)
    assert [refusal.subject for refusal in caught.value.refusals] == [
        "host a, ansible_host",
        "host a, inference_services",
    ]
    assert "template" in str(caught.value)
    plain = text.replace("{{ inventory_hostname }}", "a").replace("{{ service }}", "chat")
    assert dict(from_ansible(tmp_path, plain).host("a").data) == {
        "ssh_hostname": "a.lab",
        "inference_services": [{"name": "chat"}],
        "rack": 7,
    }


def test_a_vaulted_value_needs_the_password_that_ansible_is_configured_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text("open sesame\n")
    encrypted = ansible(
        "ansible-vault", "encrypt_string", "--vault-password-file", "password", "--stdin-name",
        "ansible_become_password", stdin="hunter2 {{",
    )  # fmt: skip
    text = "all:\n hosts:\n  a:\n  b:\n vars:\n  " + encrypted.replace("\n", "\n  ") + "\n"
    with pytest.raises(GpuwrightError, match="host a, ansible_become_password: it is encrypted"):
        from_ansible(tmp_path, text)
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(tmp_path / "password"))
    for name in "ab":
        assert dict(from_ansible(tmp_path, text).host(name).data) == {"_sudo_password": "hunter2 {{"}


def test_a_vaulted_file_needs_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "password").write_text("open sesame\n")
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text("ansible_password: hunter2\n")
    ansible("ansible-vault", "encrypt", "--vault-password-file", "password", "group_vars/all.yml")
    with pytest.raises(GpuwrightError, match="no vault secrets found"):
        from_ansible(tmp_path, "all: {hosts: {a: }}\n")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(tmp_path / "password"))
    assert dict(from_ansible(tmp_path, "all: {hosts: {a: }}\n").host("a").data) == {"ssh_password": "hunter2"}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("hosts.yml", "all:\n  hosts:\n    a: [\n", r"hosts\.yml: ansible-inventory failed: .*hosts\.yml:4"),
        ("hosts.ini", "a ansible_password=one hunter2\n", r"hosts\.ini: ansible-inventory failed: "),
        ("hosts.yml", "all: {}\n", "it declares no host"),
        ("hosts.yml", "all: {hosts: {'@docker/x': }}\n", "host @docker/x: pyinfra reads @"),
        ("hosts.yml", "_x: {hosts: {a: }}\n", "group _x: "),
        (
            "hosts.yml",
            "all: {hosts: {a: , b: }, vars: {ansible_connection: local}}\n",
            "hosts a, b: each has ansible_connection: local",
        ),
    ],
)
def test_an_inventory_that_will_not_do_is_one_sentence(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    with pytest.raises(GpuwrightError, match=said) as caught:
        from_ansible(tmp_path, text, name)
    assert len(caught.value.refusals) == 1
    assert "hunter2" not in str(caught.value)


def test_a_missing_inventory_and_one_that_leads_back_to_itself(tmp_path: Path) -> None:
    ours = tmp_path / "ours.py"
    ours.write_text(OURS.format(source="none.yml"))
    with pytest.raises(GpuwrightError, match=r"none\.yml: there is no such file"):
        load(ours)
    ours.write_text(OURS.format(source="ours.py"))
    with pytest.raises(GpuwrightError, match="leads back to it"):
        load(ours)


def test_without_ansible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        GpuwrightError, match=r"ansible-inventory: is not installed.*pip install ansible-core"
    ):
        from_ansible(tmp_path, "all: {hosts: {a: }}\n")
