"""Generated files of the Ansible roles: fresh, and as strict as they can be without refusing what Settings takes."""

from __future__ import annotations

import runpy
import tomllib
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from pydantic import BaseModel, ValidationError

from gpuwright.ansible.shims import ROLES, generated, options
from gpuwright.paths import ROOT
from gpuwright.settings import ROLE_SETTINGS
from gpuwright.settings.kinds import Strict

DIGEST = "0" * 64
CHAT = {"name": "chat"}
# What Settings takes and a validator might stumble over: text from `-e key=value`, null, numbers of another kind.
ACCEPTED: list[dict[str, object]] = [
    {"base_apt_lock_timeout_s": "300"},
    {"base_proxy": None},
    {"base_proxy": "http://proxy.lab:3128"},
    {"base_no_proxy": []},
    {"base_apt_sources": [{"uri": "http://apt.lab/debian", "suites": ["trixie"]}]},
    {
        "container_engine_daemon_json": {
            "log-opts": {"max-size": "10m"},
            "debug": True,
            "dns": ["::1"],
            "x": None,
        }
    },
    {
        "container_engine_registry_logins": [
            {"registry": "ghcr.io", "username": "u", "password": "env:TOKEN"},
        ]
    },
    {"inference_services": [{**CHAT, "memory_gib": 8, "port": "8080", "model": None, "context": "512"}]},
    {"inference_services": [{**CHAT, "memory_gib": "7.5", "accelerator": "cpu"}, {"name": "other"}]},
    {"inference_image": f"sha256:{DIGEST}", "inference_image_source": "local"},
    {"model_store_directory": "/srv/models/"},
    {
        "model_store_models": [
            {"name": "m", "repo": "a/b", "revision": "main", "include": ["*.gguf"], "url": None}
        ]
    },
    {"kernel_arguments": ["quiet"]},
    {"nvidia_driver_branch": 580},
    {"nvidia_driver_branch": "580"},
    {"interconnect_p2p": "off", "interconnect_isolation": "yes"},
    {"interconnect_isolation": 1},
    {"power_persistence": False, "power_limit_watts": {"Tesla P40": 200}},
]
# A mistake, and what the message must be about.
MISTAKES: list[tuple[dict[str, object], str]] = [
    ({"base_memlock": "everyone"}, "base_memlock"),
    ({"base_apt_lock_timeout_s": "soon"}, "base_apt_lock_timeout_s"),
    ({"base_apt_lock_timeout_s": None}, "base_apt_lock_timeout_s"),
    ({"base_no_proxy": {"localhost": 1}}, "base_no_proxy"),
    ({"base_apt_sources": [{"uri": "http://apt.lab/debian"}]}, "suites"),
    ({"base_apt_sources": [{"uri": "http://a", "suites": ["s"], "sutes": ["t"]}]}, "base_apt_sources.sutes"),
    ({"container_engine_source": "docker"}, "container_engine_source"),
    ({"container_engine_daemon_json": ["log-driver"]}, "container_engine_daemon_json"),
    ({"container_engine_registry_logins": [{"registry": "ghcr.io"}]}, "password"),
    ({"inference_services": ["chat"]}, "inference_services"),
    ({"inference_services": [{**CHAT, "modle": "ok"}]}, "inference_services.modle"),
    ({"inference_services": [{**CHAT, "accelerator": "gpu"}]}, "accelerator"),
    ({"inference_services": [{**CHAT, "port": "http"}]}, "port"),
    ({"inference_services": [{"model": "ok"}]}, "name"),
    ({"model_store_models": [{"path": "m.gguf"}]}, "name"),
    ({"interconnect_isolation": "perhaps"}, "interconnect_isolation"),
    ({"power_limit_watts": [200]}, "power_limit_watts"),
]


def errors(model: type[BaseModel], values: dict[str, object]) -> list[str]:
    """What Ansible's own validator says about `values` by the options made from `model`."""
    schema = model.model_json_schema()
    spec = yaml.safe_load(yaml.safe_dump(options(schema, schema.get("$defs", {}))))
    return list(ArgumentSpecValidator(spec).validate(values).error_messages)


def by_role(data: dict[str, object]) -> Iterator[tuple[type[Strict], dict[str, object]]]:
    """The settings among `data`, apart by role."""
    for model in ROLE_SETTINGS.values():
        values = {name: data[name] for name in model.model_fields if name in data}
        if values:
            yield model, values


def declared() -> Iterator[tuple[str, dict[str, object]]]:
    """Settings of the inventories here and of the machines in tests/fleet."""
    for path in sorted((ROOT / "inventories" / "group_data").glob("*.py")):
        yield path.name, runpy.run_path(str(path))
    for path in sorted((ROOT / "tests" / "fleet").glob("*/machine.toml")):
        yield path.parent.name, tomllib.loads(path.read_text()).get("settings", {})


@pytest.mark.parametrize("role", ROLES)
def test_generated_files_are_fresh(role: str) -> None:
    for path, text in generated(role).items():
        assert path.is_file(), f"{path.relative_to(ROOT)} is missing: run python -m gpuwright.ansible.shims"
        assert path.read_text() == text, (
            f"{path.relative_to(ROOT)} is stale: run python -m gpuwright.ansible.shims"
        )


def test_every_role_is_an_ansible_role() -> None:
    assert sorted(ROLES) == sorted(path.parent.name for path in (ROOT / "roles").glob("*/__init__.py"))


def test_what_is_declared_here_is_accepted() -> None:
    seen = 0
    for name, data in declared():
        for model, values in by_role(data):
            model.model_validate(values)
            assert errors(model, values) == [], name
            seen += 1
    assert seen > 20


@pytest.mark.parametrize("role", ROLE_SETTINGS)
def test_defaults_are_accepted(role: str) -> None:
    model = ROLE_SETTINGS[role]
    defaults = model().model_dump(mode="json")
    assert errors(model, defaults) == []
    assert errors(model, {}) == []


@pytest.mark.parametrize("data", ACCEPTED, ids=str)
def test_what_settings_take_is_accepted(data: dict[str, object]) -> None:
    ((model, values),) = by_role(data)
    model.model_validate(values)
    assert errors(model, values) == []


@pytest.mark.parametrize(("data", "about"), MISTAKES, ids=str)
def test_mistakes_are_refused_as_settings_refuse_them(data: dict[str, object], about: str) -> None:
    ((model, values),) = by_role(data)
    with pytest.raises(ValidationError):
        model.model_validate(values)
    said = errors(model, values)
    assert said
    assert about in "\n".join(said)


class Odd(BaseModel):
    """Kinds of settings that Ansible has no word for."""

    switch: Literal[True, False, "auto"] = "auto"
    maybe: Literal["a", "b"] | None = None
    either: int | str = 0
    words: tuple[Literal["a", "b"], ...] = ()
    anything: Any = None
    inner: Inner | None = None


class Inner(BaseModel):
    """A model that may be left out."""

    width: int


@pytest.mark.parametrize(
    "values",
    [
        {"switch": False},
        {"switch": "auto"},
        {"maybe": None},
        {"maybe": "a"},
        {"either": "x"},
        {"either": 1},
        {"words": ["a", "b"]},
        {"anything": [1]},
        {"inner": None},
        {"inner": {"width": "3"}},
    ],
    ids=str,
)
def test_odd_kinds_are_accepted(values: dict[str, object]) -> None:
    described = describe(Odd)
    Odd.model_validate(values)
    assert list(ArgumentSpecValidator(described).validate(values).error_messages) == []


@pytest.mark.parametrize(
    "values", [{"switch": "off"}, {"words": ["c"]}, {"inner": {"width": 1, "w": 2}}, {"inner": {}}], ids=str
)
def test_odd_kinds_are_still_checked(values: dict[str, object]) -> None:
    assert ArgumentSpecValidator(describe(Odd)).validate(values).error_messages


def describe(model: type[BaseModel]) -> dict[str, Any]:
    """Options of a model whose fields have no descriptions."""
    schema = model.model_json_schema()
    parts = schema.get("$defs", {})
    for each in (schema, *parts.values()):
        for field in each["properties"].values():
            field["description"] = "It."
    return options(schema, parts)


def test_limits_that_ansible_does_not_know_are_said() -> None:
    spec = yaml.safe_load((ROOT / "roles/inference/meta/argument_specs.yml").read_text())
    services = spec["argument_specs"]["main"]["options"]["inference_services"]["options"]
    assert services["port"]["description"][1:] == ["At least 1024.", "At most 65535."]
    assert services["memory_gib"]["description"][1:] == ["More than 0."]
    assert services["name"]["description"][1] == "Must match the pattern ^[a-z0-9][a-z0-9._-]{0,62}$"


def test_a_mark_that_ansible_would_template_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Templated(Strict):
        """Has {{ braces }}."""

    monkeypatch.setitem(ROLE_SETTINGS, "base", Templated)  # type: ignore[index]
    with pytest.raises(ValueError, match="would template"):
        generated("base")
