"""Services on GPUs as plans: what fits where, whose a card is, which image, and every reason for a refusal."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gpuwright import catalog
from gpuwright.errors import GpuwrightError
from gpuwright.facts import HostFacts
from gpuwright.plan import HostPlan, plan_host
from gpuwright.plan.model import Service
from gpuwright.plan.sizing.model import ModelFacts
from gpuwright.settings import read_settings
from gpuwright.sizing.declared import folder_of, shapes

FLEET = Path(__file__).resolve().parents[1] / "fleet"
FIRST, SECOND = "0000:01:00.0", "0000:02:00.0"
TWO_4090, MI300X, W7900 = "debian13-2x4090", "debian13-8xmi300x", "ubuntu2404-2xw7900-p2p"
GGUF = {"name": "m", "repo": "lab/m", "revision": "main", "file": "m.gguf", "shape": "llama-3.1-8b"}
TENSORS = {"name": "m", "repo": "lab/m", "revision": "main", "shape": "llama-3.1-8b"}
Q4 = {**GGUF, "quantisation": "q4_k_m"}


def facts(machine: str) -> HostFacts:
    return HostFacts.from_json((FLEET / machine / "facts.json").read_text())


def planned(
    machine: str, *services: dict[str, object], model: dict[str, object] = Q4, **data: object
) -> object:
    declared = [
        {"name": f"s{index}", "model": "m", "port": 8000 + index, **service}
        for index, service in enumerate(services)
    ]
    settings = read_settings({"inference_services": declared, "model_store_models": [model], **data})
    return plan_host(facts(machine), settings, catalog.load())


def service(machine: str, declared: dict[str, object], **data: object) -> Service:
    plan = planned(machine, declared, **data)  # type: ignore[arg-type]
    assert isinstance(plan, HostPlan), plan
    return plan.inference.services[0]


def refusals(*arguments: object, **data: object) -> list[str]:
    plan = planned(*arguments, **data)  # type: ignore[arg-type]
    assert not isinstance(plan, HostPlan), "a plan was made"
    return [str(refusal) for refusal in plan]  # type: ignore[attr-defined]


VLLM: dict[str, object] = {"engine": "vllm"}
BIG = {**TENSORS, "shape": "llama-3-70b"}
REFUSED: dict[str, tuple[str, tuple[dict[str, object], ...], dict[str, object], list[str]]] = {
    "does not fit": (
        TWO_4090,
        ({},),
        {**GGUF, "shape": "llama-3-70b", "quantisation": "q8_0"},
        ["service s0", "does not fit", "weights", "GiB", "RTX 4090"],
    ),
    "fits with less context": (
        TWO_4090,
        ({"context": 131072, "parallel": 4},),
        Q4,
        ["Declare context = "],
    ),
    "tensor parallel does not divide": (
        "ubuntu2404-4x3090",
        ({**VLLM, "tensor_parallel": 3},),
        TENSORS,
        ["tensor_parallel = 3", "32 attention heads are not divisible by 3", "one of 1, 2, 4"],
    ),
    "tensor parallel of another number": (
        "ubuntu2404-4x3090",
        ({**VLLM, "tensor_parallel": 8},),
        TENSORS,
        ["4 GPUs are no multiple of 8"],
    ),
    "AWQ on AMD": (W7900, (VLLM,), {**TENSORS, "quantisation": "awq"}, ["no awq kernels for AMD"]),
    "FP8 where no kernel is": (
        W7900,
        (VLLM,),
        {**TENSORS, "quantisation": "fp8"},
        ["gfx1100 has no FP8 kernels"],
    ),
    "a format of the other engine": (
        TWO_4090,
        (VLLM,),
        {**TENSORS, "quantisation": "q4_k_m"},
        ["vllm does not read"],
    ),
    "GPU twice in one service": (
        TWO_4090,
        ({"gpus": [FIRST, FIRST]},),
        Q4,
        [f"asks for gpu {FIRST} 2 times"],
    ),
    "GPU of two services": (
        TWO_4090,
        ({"gpus": [FIRST]}, {"gpus": [FIRST, SECOND]}),
        Q4,
        ["service s1", "which is service s0's", "shares_gpus"],
    ),
    "shared, and too large together": (
        TWO_4090,
        ({**VLLM, "gpus": [FIRST], "shares_gpus": True}, {**VLLM, "gpus": [FIRST], "shares_gpus": True}),
        TENSORS,
        ["its services ask for", "gpu_memory_utilization"],
    ),
    "unknown address": (TWO_4090, ({"gpus": ["0000:7f:00.0"]},), Q4, ["asks for gpu 0000:7f:00.0", FIRST]),
    "two that want the rest": (TWO_4090, ({}, {}), Q4, ["names no GPU, and neither does s0"]),
    "nothing left": (
        TWO_4090,
        ({"gpus": [FIRST, SECOND]}, {}),
        Q4,
        ["none of them is left", "never falls back"],
    ),
    "CUDA where none is": (W7900, ({"accelerator": "cuda"},), Q4, ["for cuda"]),
    "two vendors": ("ubuntu2404-w7900-4090", ({},), Q4, ["two vendors"]),
    "gfx not in the image": (
        "ubuntu2404-mi50-runtime",
        ({},),
        Q4,
        ["server-rocm-b11382 has no code for gfx906", "gfx90a"],
    ),
    "driver older than the image needs": (
        "ubuntu2404-2x4090",
        (VLLM,),
        TENSORS,
        ["v0.31.0 needs driver 580 or newer, not 550"],
    ),
    "context longer than the model's": (TWO_4090, ({"context": 200000},), Q4, ["131072"]),
    "shape unknown": (
        TWO_4090,
        ({},),
        {**GGUF, "shape": "llama-3.1-9b"},
        ["no shape is called", "Did you mean"],
    ),
    "nobody says the shape": (
        TWO_4090,
        ({},),
        {key: value for key, value in GGUF.items() if key != "shape"},
        ["nobody says what it is made of", "gpuwright size ORG/NAME --record inventories/models/m.json"],
    ),
    "GGUF in vLLM": (TWO_4090, (VLLM,), Q4, ["is a GGUF file", 'engine = "llama_cpp"']),
    "tensors in llama.cpp": (TWO_4090, ({},), TENSORS, ["has no GGUF file to open"]),
    "a custom engine without image": (
        TWO_4090,
        ({"engine": "custom", "arguments": ["{port}"]},),
        TENSORS,
        ["no image is declared"],
    ),
    "a custom engine without port": (
        TWO_4090,
        ({"engine": "custom", "image": f"a/b@sha256:{'0' * 64}"},),
        TENSORS,
        ["have {port}"],
    ),
    "tensor split of a quantised cache": (
        TWO_4090,
        ({"split": "tensor", "kv_type": "q8_0"},),
        Q4,
        ["a cache of 16 bits"],
    ),
}
DRIVERS = {"driver older than the image needs": {"nvidia_driver_branch": "550"}}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_with_its_reason(case: str) -> None:
    machine, services, model, says = REFUSED[case]
    found = refusals(machine, *services, model=model, **DRIVERS.get(case, {}))
    assert any(all(text in line for text in says) for line in found), found


def test_a_service_takes_all_cards_that_no_other_names() -> None:
    plan = planned(TWO_4090, {"gpus": [SECOND]}, {"accelerator": "cpu"}, {})
    assert isinstance(plan, HostPlan), plan
    owned = [[need.address for need in each.gpus] for each in plan.inference.services]
    assert owned == [[SECOND], [], [FIRST]]
    assert [file.gpus for file in plan.inference.env_files] == [(SECOND,), (), (FIRST,)]


def test_shared_cards_are_given_to_both_when_both_fit() -> None:
    half: dict[str, object] = {"gpus": [FIRST], "shares_gpus": True}
    plan = planned(TWO_4090, half, half)
    assert isinstance(plan, HostPlan), plan
    assert {need.address for each in plan.inference.services for need in each.gpus} == {FIRST}


def test_the_gate_asks_vllm_for_its_share_and_llama_cpp_for_what_it_needs() -> None:
    (first, _) = service(TWO_4090, VLLM, model=TENSORS).gpus
    assert first.free_bytes / 1024**3 == pytest.approx(0.92 * (23.99 - 0.35), abs=0.2)
    (first, _) = service(TWO_4090, {}).gpus
    assert first.weights_bytes < first.free_bytes < 5 * 1024**3


def test_several_ranks_get_shared_memory_memlock_and_ncclconf() -> None:
    both = service(TWO_4090, VLLM, model=TENSORS)
    assert both.shm_bytes == 8 * 1024**3
    assert ("/etc/nccl.conf", "/etc/nccl.conf") in both.mounts
    assert "--disable-custom-all-reduce" in both.arguments
    one = service(TWO_4090, {**VLLM, "gpus": [FIRST]}, model={**TENSORS, "quantisation": "awq"})
    assert one.shm_bytes == 1024**3 and len(one.mounts) == 1
    assert service(TWO_4090, {"gpus": [FIRST]}).shm_bytes == 0
    assert "--disable-custom-all-reduce" not in one.arguments


def test_hbm_cards_that_compile_ptx_get_the_image_whose_ptx_their_driver_knows() -> None:
    """CUDA 13.4's PTX needs driver 615; a 4090 has compiled code in both images."""
    assert service("ubuntu2204-8xh100", {}).variant == "cuda12"
    assert service(TWO_4090, {}).variant == "cuda13"


def test_a_first_start_that_compiles_has_more_time_and_so_has_a_large_model() -> None:
    assert service("ubuntu2204-8xh100", {}).start_timeout_s > service(TWO_4090, {}).start_timeout_s > 600
    assert service(TWO_4090, {"start_timeout_s": 33}).start_timeout_s == 33


def test_rungs_keep_what_the_ones_before_gave_up() -> None:
    found = service(
        TWO_4090, {"context": 8192, "parallel": 2, "out_of_memory": ["batch", "context", "context"]}
    )
    assert found.rungs == (("-ub", "256"), ("-c", "8192", "-ub", "256"), ("-c", "4096", "-ub", "256"))
    assert found.out_of_memory
    vllm = service(TWO_4090, {**VLLM, "out_of_memory": ["utilisation"]}, model=TENSORS)
    assert vllm.rungs == (("--gpu-memory-utilization", "0.87"),)


def test_declared_words_and_variables_come_last_and_are_filled() -> None:
    found = service(
        TWO_4090, {"arguments": ["--alias", "{name}-{gpus}"], "environment": {"LLAMA_ARG_PORT": "1{port}"}}
    )
    assert found.arguments[-2:] == ("--alias", "m-2")
    assert dict(found.environment)["LLAMA_ARG_PORT"] == "18000"


def test_what_was_recorded_counts_and_must_be_what_is_declared(tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    model = {"name": "m", "repo": "lab/m", "revision": commit, "file": "m.gguf"}
    settings = read_settings(
        {"inference_services": [{"name": "s", "model": "m"}], "model_store_models": [model]}
    )
    folder = folder_of({}, tmp_path / "lab.py")
    assert folder == tmp_path / "models"
    assert shapes(settings, folder) == {}
    row = next(row for row in catalog.load().architectures if row.name == "llama-3.1-8b")
    document = {
        "schema": 1,
        "repository": "lab/m",
        "revision": commit,
        "files": [],
        "model": json.loads(json.dumps(vars(replace(ModelFacts.of(row), native="q4_k_m")))),
    }
    folder.mkdir()

    def recorded(**changed: object) -> dict[str, ModelFacts]:
        (folder / "m.json").write_text(json.dumps({**document, **changed}))
        return shapes(settings, folder)

    plan = plan_host(facts(TWO_4090), settings, catalog.load(), recorded())
    assert isinstance(plan, HostPlan), plan
    for changed, says in (
        ({"revision": "f" * 40}, "was recorded of revision"),
        ({"repository": "lab/other"}, "was recorded of repository"),
        ({"model": {**document["model"], "layers": 0}}, "layers is 0"),  # type: ignore[dict-item]
        ({"schema": 9}, "schema 9"),
    ):
        with pytest.raises(GpuwrightError, match=says):
            recorded(**changed)
