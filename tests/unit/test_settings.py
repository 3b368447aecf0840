"""What operators may declare, and the one clear answer to each mistake."""

from __future__ import annotations

from typing import Any

import pytest

from gpuwright import role_docs
from gpuwright.errors import GpuwrightError
from gpuwright.settings import ROLE_SETTINGS, read_settings


def test_defaults_need_nothing() -> None:
    settings = read_settings({})
    assert settings.inference.inference_services == ()
    assert settings.inference.inference_image_source == "registry"


def test_other_host_data_is_none_of_our_business() -> None:
    read_settings({"ssh_user": "ops", "_sudo": True, "rack": "B7"})


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        ({"inference_modle": "ok"}, ["inference_modle", "Did you mean inference_model?"]),
        ({"inferense_model": "ok"}, ["inferense_model", "Did you mean inference_model?"]),
        (
            {"base_memlock": 64},
            ["base_memlock", "64", "'services', 'logins' or 'leave'", "roles/base/README.md"],
        ),
        ({"inference_services": [{"nme": "chat"}]}, ["inference_services.0.nme", "not permitted"]),
        ({"inference_services": [{"name": "a b"}]}, ["inference_services.0.name", "'a b'"]),
        ({"inference_services": [{"name": "a", "port": 80}]}, ["inference_services.0.port", "80"]),
        ({"inference_services": [{"name": "a"}, {"name": "a"}]}, ["two services share the name a"]),
        ({"inference_image": "llama.cpp:latest"}, ["inference_image", "llama.cpp:latest"]),
        ({"model_store_directory": "models"}, ["model_store_directory", "absolute path"]),
        ({"model_store_models": [{"name": "m"}]}, ["exactly one of path, url, repo, wheel; it has none"]),
        (
            {"model_store_models": [{"name": "m", "url": "https://x.example/m.gguf"}]},
            ["url also needs sha256"],
        ),
        ({"model_store_models": [{"name": "m", "url": "http://x.example/m.gguf"}]}, ["url", "^https://"]),
    ],
)
def test_a_mistake_is_named_with_what_is_right(data: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(GpuwrightError) as error:
        read_settings(data)
    assert all(part in str(error.value) for part in parts), str(error.value)


def test_all_mistakes_are_shown_at_once() -> None:
    with pytest.raises(GpuwrightError) as error:
        read_settings({"base_memlock": 1, "inference_modle": "ok", "container_engine_source": "snap"})
    assert len(error.value.refusals) == 3


LOGIN = {"registry": "r.lab", "username": "lab", "password": "hunter2"}


@pytest.mark.parametrize(
    "data",
    [
        {"base_memlock": {"token": "hunter2"}},
        {"base_proxy": "http://lab:hunter2@proxy.lab:3128"},
        {"container_engine_registry_logins": [LOGIN]},
    ],
)
def test_a_password_in_a_wrong_place_is_not_echoed(data: dict[str, Any]) -> None:
    with pytest.raises(GpuwrightError) as error:
        read_settings(data)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("role", ROLE_SETTINGS)
def test_the_document_of_each_role_has_its_settings(role: str) -> None:
    text = role_docs.document(role).read_text()
    assert text == role_docs.with_table(role, text), "stale: run python -m gpuwright.role_docs"


@pytest.mark.parametrize("role", ROLE_SETTINGS)
def test_names_are_flat_and_described(role: str) -> None:
    for name, field in ROLE_SETTINGS[role].model_fields.items():
        assert name.startswith(f"{role}_")
        assert field.description
