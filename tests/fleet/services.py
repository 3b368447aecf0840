"""One service of each engine on every machine of the fleet: what would be written for it, or why it is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gpuwright import catalog
from gpuwright.plan import HostPlan, plan_host
from gpuwright.plan.model import Service
from gpuwright.render import render
from gpuwright.settings import read_settings
from tests.fleet.conftest import FleetMachine

SGLANG = "lmsysorg/sglang@sha256:b1259f3ea3275f66237c498ea388919729018bc9f01c3d638391e06e2cf3f469"
REPOSITORY = {"repo": "lab/model", "revision": "0123456789abcdef0123456789abcdef01234567"}
MODELS = {
    "llama_cpp": {"shape": "llama-3.1-8b", "quantisation": "q4_k_m", "file": "model.gguf"},
    "vllm": {"shape": "llama-3.1-8b"},
    "custom": {"shape": "llama-3.1-8b"},
}
SERVICES: dict[str, dict[str, object]] = {
    "llama_cpp": {"context": 8192, "parallel": 4, "out_of_memory": ["batch", "context"]},
    "vllm": {"context": 8192, "out_of_memory": ["utilisation", "context"]},
    "custom": {
        "image": SGLANG,
        "arguments": [
            *("sglang", "serve", "{model}", "--host", "127.0.0.1", "--port", "{port}", "--tp-size", "{gpus}"),
            *("--served-model-name", "{name}", "--json-model-override-args", '{"rope_scaling": null}'),
        ],
        "environment": {"SGLANG_DISABLE_CUDNN_CHECK": "1"},
    },
}
ENGINES = tuple(SERVICES)


@dataclass(frozen=True)
class Rendered:
    """A service's plan with its two files."""

    service: Service
    unit: str
    conf: str

    @property
    def variables(self) -> dict[str, str]:
        """What --env-file gives the container."""
        return dict(line.split("=", 1) for line in self.conf.splitlines() if not line.startswith("#"))


def rendered(machine: FleetMachine, engine: str) -> Rendered | tuple[str, ...] | None:
    """The files, the refusals of the service, or None for a machine that is refused whatever it serves."""
    about = dict(machine.about["settings"])  # type: ignore[call-overload]
    bare = about | {"inference_services": [], "model_store_models": []}
    if not isinstance(plan_host(machine.facts, read_settings(bare), catalog.load()), HostPlan):
        return None
    model = {"name": "model", **REPOSITORY, **MODELS[engine]}
    service = {"name": "chat", "model": "model", "engine": engine, "port": 8000, **SERVICES[engine]}
    for setting in ("inference_image", "inference_image_source"):
        bare.pop(setting, None)
    wanted = bare | {"model_store_models": [model], "inference_services": [service]}
    plan = plan_host(machine.facts, read_settings(wanted), catalog.load())
    if not isinstance(plan, HostPlan):
        return tuple(str(refusal) for refusal in plan)
    (planned,) = plan.inference.services
    texts = {file.path: render(file) for file in plan.inference.files}
    return Rendered(planned, texts[f"/etc/systemd/system/{planned.unit}"], texts[planned.conf_file])


def everywhere(machines: tuple[FleetMachine, ...], engine: str) -> Iterator[tuple[str, Rendered]]:
    """By name, of each machine that can serve with the engine."""
    for machine in machines:
        found = rendered(machine, engine)
        if isinstance(found, Rendered):
            yield machine.name, found
