"""Models of a hub: by config.json and the sizes of files, by the first bytes of a GGUF file, and recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpuwright.errors import GpuwrightError
from gpuwright.sizing import models
from tests.hub import hub_server
from tests.unit.test_sizing_gguf import OK
from tests.unit.test_sizing_models import LLAMA_3_1_8B

TINY = {
    **LLAMA_3_1_8B,
    "num_hidden_layers": 1,
    "hidden_size": 128,
    "intermediate_size": 256,
    "vocab_size": 512,
}
REPOSITORIES = {
    "org/tiny": {
        "config.json": json.dumps(TINY).encode(),
        "model-00001-of-00002.safetensors": bytes(1000),
        "model-00002-of-00002.safetensors": bytes(500),
        "original/consolidated.safetensors": bytes(9999),
        "consolidated.safetensors": bytes(9999),
    },
    "org/quants": {"ok.Q8_0.gguf": OK.read_bytes(), "README.md": b"#"},
    "org/empty": {"config.json": b"{}"},
}


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)


def test_a_repository_by_its_config_and_the_size_of_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    with hub_server(REPOSITORIES) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        model = models.find("org/tiny")
    assert (model.layers, model.hidden, model.file_bytes, model.gguf) == (1, 128, 1500, False)
    assert model.source == f"org/tiny at {hub.commit}"
    assert all(".safetensors" not in path for path, _ in hub.seen)
    assert {token for path, token in hub.seen if "org/tiny" in path} == {"Bearer hf_secret"}


def test_a_gguf_file_by_its_first_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    with hub_server(REPOSITORIES) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        model = models.find("org/quants:ok.Q8_0.gguf")
    here = models.find(str(OK))
    assert {**vars(model), "name": "", "source": ""} == {**vars(here), "name": "", "source": ""}


def test_what_was_recorded_needs_no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "models" / "tiny.json"
    with hub_server(REPOSITORIES) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        model = models.find("org/tiny@main", record=path)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    document = json.loads(path.read_text())
    assert models.find(str(path)) == model
    assert document["revision"] == hub.commit
    assert all(file["digest"].startswith(("sha256:", "git-sha1:")) for file in document["files"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("org/nothing", "did not list it"),
        ("org/quants", r"Name one: org/quants:ok\.Q8_0\.gguf"),
        ("org/quants:other.gguf", "none of its 2 files matches"),
        ("org/empty", "has no weights"),
    ],
)
def test_what_a_hub_does_not_have_is_a_sentence(
    text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub_server(REPOSITORIES) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(GpuwrightError, match=said):
            models.find(text)


@pytest.mark.parametrize("content", ['{"schema": 2, "model": {}}', '{"schema": 1, "model": {"name": "x"}}'])
def test_a_recorded_model_that_cannot_be_read(content: str, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(content)
    with pytest.raises(GpuwrightError, match="Record it again"):
        models.find(str(path))


def test_only_a_hubs_model_is_recorded(tmp_path: Path) -> None:
    with pytest.raises(GpuwrightError, match="is not on a hub"):
        models.find("llama-3-8b", record=tmp_path / "m.json")
    assert not (tmp_path / "m.json").exists()
