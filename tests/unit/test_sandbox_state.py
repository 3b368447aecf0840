"""The sandbox's state file, who gets which host, and the inventory that reads it."""

import json
import runpy
import stat
from pathlib import Path
from typing import Any

import pytest

from gpuwright.errors import GpuwrightError
from gpuwright.sandbox import fleet, state
from gpuwright.sandbox.state import HostRecord, State

INVENTORY = Path(__file__).parents[2] / "inventories" / "sandbox.py"
PASSWORD = "p $'\"\\!q"


def record(name: str, password: str | None = None) -> HostRecord:
    return HostRecord(name, "127.0.0.1", 20001, "ops", "/k/id", "/k/known_hosts", "debian13", password)


def inventory(directory: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    monkeypatch.setenv("GPUWRIGHT_STATE_DIR", str(directory))
    hosts: list[tuple[str, dict[str, Any]]] = runpy.run_path(str(INVENTORY))["sandbox"]
    return hosts


def test_state_survives_a_round_trip_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    written = State((record("sbx1"), record("sbx2", PASSWORD)), {"llama_cpp": "sha256:ab"})
    state.save(tmp_path / "new", written)
    assert state.load(tmp_path / "new") == written
    assert stat.S_IMODE(state.state_file(tmp_path / "new").stat().st_mode) == 0o600


def test_a_failed_write_leaves_the_old_state_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.save(tmp_path, State((record("sbx1"),)))

    def full_disk(_descriptor: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(state.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        state.save(tmp_path, State())
    assert [host.name for host in state.load(tmp_path).hosts] == ["sbx1"]
    assert [path.name for path in tmp_path.iterdir()] == ["sandbox.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 2}', '{"schema": 1, "hosts": [{"name": "a"}]}'])
def test_a_file_that_is_not_ours_is_refused_with_the_way_out(tmp_path: Path, text: str) -> None:
    state.state_file(tmp_path).write_text(text)
    with pytest.raises(GpuwrightError, match="sandbox down"):
        state.load(tmp_path)


def test_releases_cycle_and_only_the_last_of_several_asks_for_a_password() -> None:
    slots = fleet.missing(3, ["debian12", "debian13"], [])
    assert [(slot.name, slot.os, slot.asks) for slot in slots] == [
        ("sbx1", "debian12", False),
        ("sbx2", "debian13", False),
        ("sbx3", "debian12", True),
    ]
    assert [slot.asks for slot in fleet.missing(1, ["debian13"], [])] == [False]


def test_growing_keeps_existing_hosts_and_a_position_keeps_its_release() -> None:
    grown = fleet.missing(2, ["debian12", "debian13"], ["sbx1"])
    assert [(slot.name, slot.os, slot.asks) for slot in grown] == [("sbx2", "debian13", True)]
    assert fleet.missing(1, ["debian13"], ["sbx1", "sbx2"]) == []


def test_a_port_is_neither_taken_nor_in_the_kernels_ephemeral_range() -> None:
    taken = set(range(20000, 29999))
    assert fleet.free_port(taken, lambda port: True) == 29999


def test_labels_differ_by_state_directory(tmp_path: Path) -> None:
    assert state.label(tmp_path / "a") != state.label(tmp_path / "b")


def test_inventory_without_a_sandbox_is_empty_and_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inventory(tmp_path, monkeypatch) == []
    assert "gpuwright sandbox up" in capsys.readouterr().err


def test_inventory_gives_a_password_only_where_sudo_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.save(tmp_path, State((record("sbx1"), record("sbx2", PASSWORD)), {"llama_cpp": "sha256:ab"}))
    hosts = dict(inventory(tmp_path, monkeypatch))
    assert "_sudo_password" not in hosts["sbx1"]
    assert hosts["sbx2"]["_sudo_password"] == PASSWORD
    assert hosts["sbx1"]["ssh_port"] == 20001
    assert hosts["sbx1"]["ssh_strict_host_key_checking"] == "yes"
    assert hosts["sbx1"]["inference_image"] == "sha256:ab"
    json.dumps(hosts)  # plain data: pyinfra passes it between processes
