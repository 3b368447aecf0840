"""What a target may be, and the one sentence for everything else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gpuwright.errors import GpuwrightError
from gpuwright.facts import HostFacts
from gpuwright.paths import ROOT
from gpuwright.planning.planned import declared, planned
from gpuwright.planning.recorder import with_settings
from gpuwright.planning.targets import Target, read, settings_beside

MACHINE = ROOT / "tests" / "fleet" / "sandbox-debian13"


def one(argument: object, inventory: Path | None = None) -> Target:
    (target,) = read([str(argument)], inventory, ())
    return target


def test_a_machine_and_its_facts_file_are_the_same_target() -> None:
    assert one(MACHINE) == one(MACHINE / "facts.json")
    assert one(MACHINE).host == "sandbox-debian13"
    assert one(MACHINE).data["inference_image_source"] == "local"
    assert one(MACHINE / "facts_after.json").host == "sandbox-debian13/facts_after"


def test_overrides_win_over_the_settings_beside_the_facts() -> None:
    plan = planned(one(MACHINE), {"inference_services": [{"name": "chat", "port": 9999}]}).plan
    assert plan is not None
    assert dict(plan.leaves())["inference.services.0.port"] == 9999


def test_a_wrong_setting_is_a_refusal_of_that_host() -> None:
    host = planned(one(MACHINE), {"inference_modle": "ok"})
    assert host.plan is None
    assert "Did you mean inference_model?" in str(host.refusals[0])


def test_an_inventory_of_recorded_hosts_needs_no_host(tmp_path: Path) -> None:
    from gpuwright.connectors.recording import Recording

    facts = HostFacts.from_json((MACHINE / "facts.json").read_text())
    (tmp_path / "recording.json").write_text(Recording(facts).to_json())
    inventory = tmp_path / "fleet.py"
    data = {"replay_recording": str(tmp_path / "recording.json"), "base_extra_packages": ["htop"]}
    inventory.write_text(
        f"fleet = [('@replay/a', {data!r}), ('@replay/b', {dict(data, replay_recording='gone')!r})]"
    )
    first, second = read([str(inventory)], None, ())
    assert (first.host, first.facts) == ("@replay/a", facts)
    assert first.data["base_extra_packages"] == ["htop"]
    assert second.facts is None
    assert "recording gone" in str(second.refusals[0])
    assert [each.host for each in read([str(inventory)], None, ("@replay/b",))] == ["@replay/b"]
    assert one("@replay/a", inventory).facts == facts


@pytest.mark.parametrize(
    ("name", "content", "observed"),
    [
        ("gone.json", None, "No such file"),
        ("empty.json", "", "Invalid JSON"),
        ("cut.json", '{"schema": 2, "os_id', "Invalid JSON"),
        ("list.json", "[]", "the file"),
        ("missing.json", '{"schema": 2}', "Field required"),
        ("gone.py", None, "there is no such file"),
        ("folder/gone", None, "there is no such file"),
        ("notes.txt", "hello", "is neither"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: str | None, observed: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    target = one(path)
    assert target.facts is None
    (refusal,) = target.refusals
    assert str(path) in str(refusal)
    assert observed in refusal.observed


def test_facts_of_another_schema_are_named(tmp_path: Path) -> None:
    facts = json.loads((MACHINE / "facts.json").read_text())
    (tmp_path / "facts.json").write_text(json.dumps({**facts, "schema": 1}))
    assert "schema 1" in str(one(tmp_path / "facts.json").refusals)


def test_a_directory_without_facts_says_how_to_get_them(tmp_path: Path) -> None:
    assert "gpuwright facts HOST --json" in str(one(tmp_path).refusals[0])


def test_a_host_that_nobody_declared_is_named(tmp_path: Path) -> None:
    inventory = tmp_path / "lab.py"
    inventory.write_text("lab = ['alpha']")
    assert "Did you mean alpha?" in str(one("alpa", inventory).refusals[0])


def test_a_bad_target_does_not_hide_the_others(tmp_path: Path) -> None:
    good, bad = read([str(MACHINE), str(tmp_path / "gone.json")], None, ())
    assert good.facts and not bad.facts


@pytest.mark.parametrize(("text", "observed"), [("a = ", "is no TOML"), ("settings = 1", "is no table")])
def test_a_machine_file_that_is_wrong_is_named(tmp_path: Path, text: str, observed: str) -> None:
    shutil.copy(MACHINE / "facts.json", tmp_path)
    (tmp_path / "machine.toml").write_text(text)
    with pytest.raises(GpuwrightError, match=observed):
        settings_beside(tmp_path / "facts.json")
    assert observed in str(one(tmp_path).refusals[0])


def test_a_recording_takes_the_machines_settings_and_the_hosts_connection() -> None:
    from gpuwright.inventory import HostEntry

    entry = HostEntry(
        "a", {"ssh_hostname": "h", "_sudo": True, "base_proxy": "http://p:1", "inference_services": []}
    )
    assert declared(entry.data) == {"base_proxy": "http://p:1", "inference_services": []}
    assert with_settings(entry, {"base_memlock": "leave"}).data == {
        "ssh_hostname": "h",
        "_sudo": True,
        "base_memlock": "leave",
    }


def test_recorded_facts_are_planned_without_what_talks_to_hosts() -> None:
    program = (
        "import sys; sys.argv = ['gpuwright', 'plan', sys.argv[1], '--json', '--set', 'base_memlock=leave']\n"
        "from gpuwright.__main__ import main\n"
        "try: main()\n"
        "finally: print([name for name in ('pyinfra', 'paramiko', 'openai') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(MACHINE)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert json.loads(done.stdout)["hosts"][0]["digest"]
    assert done.stderr == "[]\n"
