"""`gpuwright status` on a recorded answer of a sandbox host, whole and damaged: unknown is never ok."""

from __future__ import annotations

import io
import json
import re
import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from gpuwright.errors import GpuwrightError
from gpuwright.status import HostStatus, parse_status
from gpuwright.status_probe import SCRIPT, parse_sections
from gpuwright.status_view import render, to_json

# Recorded on a Debian 13 sandbox host with a real llama-server; memory was not readable there then.
RECORDED = (Path(__file__).parents[1] / "fixtures/status_sbx_chat.txt").read_text()
SECTIONS = ("machine", "stamp", "units", "engine", "containers", "images", "listeners", "models", "disk")
IMAGE = "sha256:f5411c9129a6de940fc7b1290d63d606e6f03049371e056df12336aa37e74b16"


def shown(status: HostStatus) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(render(status))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def without(section: str) -> str:
    return re.sub(rf"#gpuwright begin {section}\n.*?#gpuwright end {section} 0\n", "", RECORDED, flags=re.S)


def failed(section: str) -> str:
    return RECORDED.replace(f"#gpuwright end {section} 0", f"#gpuwright end {section} 1")


def test_a_recorded_host_is_ok() -> None:
    status = parse_status(RECORDED, "sbx1")
    (service,) = status.services
    assert (status.verdict, status.exit_code) == ("ok", 0)
    assert (service.active, service.sub, service.restarts, service.since) == (
        "active",
        "running",
        0,
        1795232159,
    )
    assert (service.container, service.health, service.image_id) == ("running", "", IMAGE)
    assert service.listens == ("127.0.0.1",)
    assert (service.model_present, service.model_bytes) == (True, 98362918)
    assert service.memory_bytes is None
    assert status.models == (("smollm2-135m-instruct", 98362918),)
    assert status.load == (3.30, 1.87, 1.01)
    assert (status.disk_bytes, status.disk_free_bytes) == (270553174016, 79737667584)
    assert status.plan_digest is not None and status.plan_digest.startswith("e94982e90b2e")
    assert (status.os, status.engine_version) == ("Debian GNU/Linux 13 (trixie)", "26.1.5+dfsg1")


@pytest.mark.parametrize("damage", [without, failed])
@pytest.mark.parametrize("section", ["units", "containers", "images", "listeners", "models"])
def test_a_section_that_is_absent_or_failed_is_unknown(section: str, damage: object) -> None:
    assert callable(damage)
    status = parse_status(damage(section), "sbx1")
    assert (status.verdict, status.exit_code) == ("unknown", 1)
    assert "unknown" in shown(status)


@pytest.mark.parametrize("section", ["machine", "engine", "disk"])
def test_a_machine_reading_that_is_absent_only_shows(section: str) -> None:
    status = parse_status(without(section), "sbx1")
    assert status.verdict == "ok"
    assert "unknown" in shown(status)


@pytest.mark.parametrize("length", range(0, len(RECORDED), 97))
def test_a_cut_answer_is_never_ok(length: int) -> None:
    try:
        status = parse_status(RECORDED[:length], "sbx1")
    except GpuwrightError as error:
        assert "its answer holds no /etc/gpuwright/applied.json" in str(error)
    else:
        complete = "#gpuwright end models 0" in RECORDED[:length]
        assert status.verdict == ("ok" if complete else "unknown")


@pytest.mark.parametrize(
    "text", ["", "\n", "Welcome!\n", "#gpuwright end stamp 0\n", "#gpuwright begin stamp\n{"]
)
def test_no_answer_is_an_error(text: str) -> None:
    with pytest.raises(GpuwrightError, match="holds no"):
        parse_status(text, "sbx1")


def test_a_host_that_was_never_deployed_says_so() -> None:
    text = re.sub(r"(begin stamp\n).*?(\n#gpuwright end stamp)", r"\1\2", RECORDED, flags=re.S)
    with pytest.raises(GpuwrightError, match="was never deployed"):
        parse_status(text, "sbx1")


@pytest.mark.parametrize("stamp", ["{", "[]", "{}", '{"services": 3}', '{"services": [{"name": "a"}]}'])
def test_a_damaged_stamp_is_an_error(stamp: str) -> None:
    text = re.sub(r"(begin stamp\n).*?(\n#gpuwright end stamp)", rf"\1{stamp}\2", RECORDED, flags=re.S)
    with pytest.raises(GpuwrightError, match=r"applied\.json on sbx1"):
        parse_status(text, "sbx1")


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ("ActiveState=active", "ActiveState=failed", "gpuwright-chat.service is failed"),
        (f"gpuwright-chat\trunning\t{IMAGE}\thealth:\t", "gpuwright-chat\tabsent", "container is absent"),
        (f"running\t{IMAGE}\thealth:", f"running\t{IMAGE}\thealth:unhealthy", "container is unhealthy"),
        (f"running\t{IMAGE}\t", "running\tsha256:00\t", "container runs another image"),
        (f"{IMAGE}\t{IMAGE}\t48865072", f"{IMAGE}\t\t0", "the declared image is not on the host"),
        ("127.0.0.1:8080 ", "127.0.0.1:8088 ", "nothing listens on port 8080"),
        ("models/smollm2-135m-instruct/", "models/other/", "smollm2-135m-instruct is not in the store"),
    ],
)
def test_a_difference_is_named_and_exits_2(old: str, new: str, difference: str) -> None:
    assert old in RECORDED
    status = parse_status(RECORDED.replace(old, new), "sbx1")
    assert (status.verdict, status.exit_code) == ("differs", 2)
    assert any(difference in text for text in status.services[0].differences)
    assert difference in shown(status)


def test_json_has_every_field_and_the_verdicts() -> None:
    data = json.loads(json.dumps(to_json(parse_status(failed("models"), "sbx1"))))
    assert data["verdict"] == "unknown"
    assert data["models"] is None
    assert data["services"][0]["differences"] == []
    assert data["services"][0]["model_present"] is None


def test_the_script_runs_on_this_machine_and_frames_every_section() -> None:
    output = subprocess.run(["sh", "-c", SCRIPT], capture_output=True, text=True, timeout=60).stdout
    assert re.findall(r"^#gpuwright end (\w+) \d+$", output, flags=re.M) == list(SECTIONS)
    assert {"machine", "disk"} <= parse_sections(output).keys()
