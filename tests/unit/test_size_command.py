"""`gpuwright size` as people call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gpuwright.cli import app

FLEET = Path(__file__).parents[1] / "fleet"


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["size", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def test_one_machine_with_every_term() -> None:
    code, out, _ = run("llama-3-70b", "--quant", "q8_0", "--on", "2xW7900")
    assert code == 0
    assert "llama-3-70b q8_0 on 2x Radeon PRO W7900, llama.cpp, 1 user with 8192 tokens: PASS" in out
    assert "layer split over 2: -ngl all -fa on -c 8192 -np 1 -sm layer -ts 41,40" in out
    assert "tokens/s" in out
    assert "a million tokens" in out


def test_what_does_not_fit_says_by_how_much_and_what_would() -> None:
    code, out, _ = run("llama-3.1-70b", "--quant", "q4_k_m", "--on", "2x4090", "--context", "65536")
    assert code == 2
    assert "GiB too much on a GPU" in out
    assert "tokens for each user would just fit" in out


def test_several_machines_the_one_that_fits_first() -> None:
    code, out, _ = run("deepseek-r1", "--on", "8x H100 SXM", "--on", "8x H200 SXM")
    assert code == 0
    assert out.index("8x H200 SXM") < out.index("8x H100 SXM")


def test_without_a_machine_the_fewest_cards_of_each_kind() -> None:
    code, out, _ = run("llama-3.1-8b")
    assert code == 0
    assert "1x GeForce RTX 4090" in out
    assert "1x Radeon PRO W7900" in out


def test_a_card_without_a_number_is_one() -> None:
    code, out, _ = run("llama-3.1-8b", "--on", "7900XTX", "--quant", "q4_k_m")
    assert code == 0
    assert "on 1x Radeon RX 7900 XTX" in out


def test_a_recorded_host_and_its_memory() -> None:
    code, out, _ = run(
        "qwen3-30b-a3b", "--quant", "q4_k_m", "--on", str(FLEET / "debian13-2x4090" / "facts.json")
    )
    assert code == 0
    assert "on debian13-2x4090, llama.cpp" in out


def test_json_has_the_terms_in_bytes() -> None:
    code, out, _ = run("llama-3.1-8b", "--on", "1x4090", "--json")
    (machine,) = json.loads(out)["machines"]
    assert code == 0
    assert machine["verdict"] == "PASS"
    assert machine["layouts"][0]["needs"][0]["weights"] > 15e9
    assert machine["cost_per_million_tokens"]["watt_hours"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nope", "--on", "1x4090"), "no model of this name"),
        (("llama-3-8b", "--on", "1xH100"), "could be H100 PCIe, H100 SXM"),
        (("llama-3-8b", "--on", "1xVoodoo"), "the catalogue does not know it"),
        (("llama-3-8b", "--on", "0x4090"), "has no card"),
        (("llama-3-8b", "--on", "nowhere/facts.json"), "No such file"),
        (("llama-3-8b", "--on", "1xW7900", "--quant", "awq"), "no awq kernels for AMD"),
        (("llama-3-8b", "--on", "1xT4", "--quant", "fp8"), "sm_75 has no FP8 kernels"),
        (("llama-3-8b", "--context", "9000"), "knows 8192 tokens"),
        (("llama-3-8b", "--on", "1x4090", "--quant", "q9_z"), "does not read it"),
        (("llama-3-8b", "--on", "1x4090", "--context", "9000"), "knows 8192 tokens"),
    ],
)
def test_what_cannot_be_judged_is_a_sentence(arguments: tuple[str, ...], said: str) -> None:
    code, out, err = run(*arguments)
    assert code == 1
    assert said in err
    assert out == ""


def test_a_machine_that_cannot_be_judged_does_not_hide_the_others() -> None:
    code, out, err = run("llama-3-8b", "--on", "1x4090", "--on", "1xVoodoo")
    assert code == 0
    assert "4090" in out
    assert "Voodoo" in err


def test_models_with_a_name() -> None:
    code, out, _ = run("--list")
    assert code == 0
    assert "deepseek-r1" in out
