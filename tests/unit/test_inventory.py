"""Inventory files: the same hosts and data as pyinfra's own reader gives, and sentences for what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gpuwright import locks
from gpuwright.errors import GpuwrightError
from gpuwright.inventory import find_host, load

LAB = """
import os
from pathlib import Path as _Path

_secret = [("hidden", {})]
USER = "ops"
gpus = [
    ("a40", {"ssh_hostname": "10.0.0.4", "level": "host"}),
    "h200",
]
edge = (["jetson", ("h200", {"rack": 7})], {"ssh_user": USER, "level": "edge"})
numbers = [1, 2]
"""
GROUP_DATA = {
    "all.py": 'level = "all"\nonly_all = {"a": 1}\n',
    "gpus.py": 'import os\nfrom pathlib import Path\nlevel = "gpus"\nports = [8001]\n_sudo = True\n',
    "lab.py": 'level = "lab"\nby_file = os_name = "x"\n__all__ = ["level", "by_file"]\n',
    "unused.py": "nothing = 1\n",
    "notes.txt": "not Python",
}
CHILD = """
import json, sys
from pyinfra_cli.inventory import make_inventory
from pyinfra.api.state import State
from pyinfra.context import ctx_state
ctx_state.set(State())  # as its command line does first
inventory = make_inventory(sys.argv[1], cwd=sys.argv[2])
print(json.dumps({host.name: [host.data.dict(), sorted(set(host.groups))] for host in inventory}))
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A checkout with an inventory, and group_data beside it and one level up."""
    for folder in (tmp_path / "inventories/group_data", tmp_path / "group_data"):
        folder.mkdir(parents=True)
    for name, text in GROUP_DATA.items():
        (tmp_path / "inventories/group_data" / name).write_text(text)
    (tmp_path / "group_data/gpus.py").write_text('level = "outer"\nouter = True\n')
    path = tmp_path / "inventories/lab.py"
    path.write_text(LAB)
    return path


def by_pyinfra(path: Path, cwd: Path) -> dict[str, list[object]]:
    """What pyinfra's command line reads; in a child, because importing it patches the process."""
    command = [sys.executable, "-c", CHILD, str(path), str(cwd)]
    output = subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout
    return json.loads(output)


@pytest.mark.parametrize(
    "inventory",
    [
        LAB,
        'hosts = ["a", "b"]\n',
        'all = (["a", ("b", {"x": 1})], {"x": 0, "y": 0})\ngpus = ["b"]\n',
        'lab = ["a"]\ngpus = (["a"], {"level": "inline"})\nmore = (["a"], {"level": "later"})\n',
        'hosts = ["@local", "@ssh/box"]\n',
    ],
)
def test_agrees_with_pyinfra(lab: Path, inventory: str) -> None:
    lab.write_text(inventory)
    ours = load(lab)
    expected = by_pyinfra(lab, lab.parent.parent)
    assert {name: [dict(host.data), sorted(host.groups)] for name, host in ours.hosts.items()} == expected
    assert list(ours.names) == list(expected)


def test_agrees_with_pyinfra_where_the_file_lies_alone(tmp_path: Path) -> None:
    path = tmp_path / "inventory.py"
    path.write_text(LAB)
    (tmp_path / "group_data").mkdir()
    (tmp_path / "group_data/edge.py").write_text("level = 3\n")
    assert {name: dict(host.data) for name, host in load(path).hosts.items()} == {
        name: data for name, (data, _) in by_pyinfra(path, tmp_path).items()
    }


def test_one_host_alone_keeps_its_data_and_groups(lab: Path) -> None:
    inventory = load(lab)
    for name in inventory.names:
        (host,) = inventory.pyinfra_inventory(name)
        assert host.name == name
        folder = {locks.DATUM: str(lab.parent / "locks")}
        assert host.data.dict() == {**folder, **inventory.host(name).data}
        assert set(host.groups) == set(inventory.host(name).groups)


def test_group_data_sees_the_inventory(lab: Path) -> None:
    (lab.parent / "group_data/all.py").write_text(
        "from pyinfra import inventory\nmembers = sorted(host.name for host in inventory.get_group('gpus'))\n"
    )
    assert load(lab).host("jetson").data["members"] == ["a40", "h200"]


def test_inventories_import_helpers_from_the_checkout(lab: Path) -> None:
    (lab.parent.parent / "shelf_of_names.py").write_text("NAMES = ['from-helper']\n")
    lab.write_text("from shelf_of_names import NAMES as _names\nhosts = _names\n")
    before = list(sys.path)
    assert load(lab).names == ("from-helper",)
    assert sys.path == before


def test_does_not_patch_the_process(lab: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from gpuwright.inventory import load; load(Path(sys.argv[1]));"
        "import gevent.monkey as m; print('pyinfra_cli' in sys.modules, m.is_module_patched('socket'))"
    )
    output = subprocess.run(
        [sys.executable, "-c", program, str(lab)], check=True, capture_output=True, text=True
    )
    assert output.stdout.split() == ["False", "False"]


def test_secrets_stay_out_of_repr(lab: Path) -> None:
    lab.write_text('hosts = [("a", {"_sudo_password": "hunter2"})]\n')
    assert "hunter2" not in repr(load(lab))


@pytest.mark.parametrize(
    ("text", "subject", "observed"),
    [
        ("hosts = [\n", "lab.py, line 1", "syntax error"),
        ("hosts = []\nimport os\nos.environ['NO_SUCH_VARIABLE_HERE']\n", "lab.py, line 3", "KeyError"),
        ("raise SystemExit(3)\n", "lab.py, line 1", "SystemExit"),
        ('hosts = ["@nonsense/x"]\n', "lab.py", "Invalid connector"),
        ('hosts = [("a", "not data")]\n', "lab.py", "is not understood"),
        ("hosts = ()\n", "lab.py", "is not understood"),
    ],
)
def test_a_broken_file_is_one_sentence(lab: Path, text: str, subject: str, observed: str) -> None:
    lab.write_text(text)
    with pytest.raises(GpuwrightError) as caught:
        load(lab)
    assert caught.value.refusals[0].subject.endswith(subject)
    assert observed in caught.value.refusals[0].observed


def test_a_broken_group_data_file_is_named(lab: Path) -> None:
    (lab.parent / "group_data/gpus.py").write_text("x = 1\nx = = 2\n")
    with pytest.raises(GpuwrightError, match=r"gpus\.py, line 2: syntax error"):
        load(lab)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(GpuwrightError, match="there is no such file"):
        load(tmp_path / "none.py")


def test_finds_the_one_inventory_that_has_the_host(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lab.parent.parent)
    (lab.parent / "home.py").write_text('hosts = ["nas", "h200"]\n')
    (lab.parent / "broken.py").write_text("1 / 0\n")
    found = find_host("a40")
    assert found.source is not None and found.source.name == "lab.py"
    with pytest.raises(GpuwrightError, match=r"home\.py, .*lab\.py; required: one inventory"):
        find_host("h200")
    with pytest.raises(GpuwrightError) as caught:
        find_host("a41")
    assert "Did you mean a40?" in str(caught.value)
    assert "ZeroDivisionError" in str(caught.value)


def test_this_machine_needs_no_inventory(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lab.parent.parent)
    assert find_host("@local").name == "@local"
    assert find_host("@local", lab).name == "@local"
    (host,) = find_host("@local").pyinfra_inventory()
    assert host.name == "@local"
    with pytest.raises(GpuwrightError, match="h201"):
        find_host("h201", lab)
