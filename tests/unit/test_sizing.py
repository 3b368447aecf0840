"""Layouts, their terms and verdicts; what engines and cards cannot do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuwright import catalog
from gpuwright.plan.sizing import Request, most_tokens, size, vllm
from gpuwright.plan.sizing.constants import GIB
from gpuwright.plan.sizing.model import ModelFacts

MODELS = {row.name: ModelFacts.of(row) for row in catalog.load().architectures}
GPUS = {row.name: row for row in catalog.load().gpus.rows}
RTX_4090, H100, W7900 = GPUS["GeForce RTX 4090"], GPUS["H100 SXM"], GPUS["Radeon PRO W7900"]
ASKED = Request(MODELS["llama-3-70b"], "llama_cpp", "q8_0", (W7900, W7900), 8192, 1, "f16")


def test_a_layer_split_shares_layers_and_gives_the_output_to_the_last() -> None:
    (layout,) = size(ASKED).layouts
    first, last = layout.needs
    assert layout.label == "layer split over 2"
    assert layout.verdict == "PASS"
    # 69.8 GiB in the file; the embedding stays in RAM.
    assert (first.weights + last.weights + layout.host) / GIB == pytest.approx(69.83, rel=0.002)
    assert last.workspace > first.workspace


@pytest.mark.parametrize(("count", "verdict"), [(2, "NO"), (3, "NO"), (4, "PASS")])
def test_a_70b_in_8_bits_wants_four_cards_of_24_gib(count: int, verdict: str) -> None:
    assert size(replace(ASKED, gpus=(RTX_4090,) * count)).verdict == verdict


def test_deepseek_r1_in_fp8_wants_eight_h200() -> None:
    """DeepSeek: 671 GB of weights; lmdeploy#2960: eight cards of 80 GB are too small."""
    asked = Request(MODELS["deepseek-v3"], "vllm", "fp8", (H100,) * 8, 8192, 1, "f16")
    assert size(asked).verdict == "NO"
    assert size(replace(asked, gpus=(GPUS["H200 SXM"],) * 8)).verdict == "PASS"


@pytest.mark.parametrize(
    ("name", "format_", "tensor", "said"),
    [
        ("qwen2.5-7b", "bf16", 8, "28 attention heads are not divisible by 8"),
        ("qwen2.5-72b", "gptq", 8, "29568 / 8 = 3696 is no multiple of the 128"),
        ("qwen2.5-32b", "bf16", 8, None),  # 8 key-value heads
        ("qwen3-235b-a22b", "bf16", 8, None),  # 4, repeated
        ("qwen3-235b-a22b", "fp8", 8, "1536 / 8 = 192 is no multiple of the 128"),  # vllm#17569
        ("phi-4", "bf16", 4, "10 key-value heads cannot be divided by, or repeated on, 4"),
        ("deepseek-v3", "bf16", 8, None),  # MLA: no heads to divide
    ],
)
def test_tensor_parallelism_by_vllms_own_rules(
    name: str, format_: str, tensor: int, said: str | None
) -> None:
    found = vllm.invalid(MODELS[name], format_, tensor)
    assert (said is None and found is None) or (said is not None and found is not None and said in found)


def test_what_cannot_be_divided_is_said_and_pipelines_are_left() -> None:
    sizing = size(Request(MODELS["phi-4"], "vllm", "bf16", (H100,) * 4, 8192, 1, "f16"))
    assert [tensor for tensor, _ in sizing.invalid] == [4]
    assert {(layout.tensor, layout.pipeline) for layout in sizing.layouts} == {(1, 4), (2, 2)}


def test_experts_move_to_ram_only_as_far_as_there_is_some() -> None:
    asked = Request(MODELS["qwen3-30b-a3b"], "llama_cpp", "q8_0", (RTX_4090,), 8192, 1, "f16", 64 * GIB)
    best = size(asked).layouts[0]
    assert best.host_layers > 0
    assert best.verdict != "NO"
    assert size(replace(asked, host_bytes=8 * GIB)).verdict == "NO"


def test_a_window_bounds_the_cache_of_the_layers_that_have_it() -> None:
    """gpt-oss: half of the layers look back on 128 tokens; ollama#16480 prints both halves."""
    asked = Request(MODELS["gpt-oss-120b"], "llama_cpp", "mxfp4", (H100,), 131072, 1, "f16")
    (need,) = size(asked).layouts[0].needs
    assert need.cache / GIB == pytest.approx(4.5, rel=0.02)


def test_a_latent_cache_is_not_divided() -> None:
    asked = Request(MODELS["deepseek-v3"], "vllm", "fp8", (GPUS["H200 SXM"],) * 8, 8192, 1, "f16")
    (layout,) = [each for each in size(asked).layouts if each.tensor == 8]
    assert layout.needs[0].cache == 61 * 576 * 2 * 8192


@pytest.mark.parametrize(
    ("change", "subject", "said"),
    [
        ({"quantisation": "awq"}, "format awq", "llama_cpp does not read it"),
        ({"context": 10000}, "context 10000", "llama-3-70b knows 8192 tokens"),
        (
            {"engine": "vllm", "quantisation": "awq"},
            "format awq on Radeon PRO W7900",
            "no awq kernels for AMD",
        ),
        (
            {"engine": "vllm", "quantisation": "fp8"},
            "format fp8 on Radeon PRO W7900",
            "gfx1100 has no FP8 kernels",
        ),
        (
            {"engine": "vllm", "quantisation": "fp8", "gpus": (GPUS["Tesla T4"],) * 2},
            "format fp8 on Tesla T4",
            "sm_75 has no FP8",
        ),
        (
            {"engine": "vllm", "quantisation": "bf16", "gpus": (GPUS["Tesla P40"],)},
            "vLLM on Tesla P40",
            "it is sm_61",
        ),
        ({"gpus": (W7900, RTX_4090)}, "GPUs", "Radeon PRO W7900, GeForce RTX 4090"),
    ],
)
def test_what_no_layout_can_help_is_refused(change: dict[str, object], subject: str, said: str) -> None:
    (refusal,) = size(replace(ASKED, **change)).refusals  # type: ignore[arg-type]
    assert refusal.subject == subject
    assert said in refusal.observed


def test_the_longest_context_that_still_fits() -> None:
    asked = Request(MODELS["llama-3.1-70b"], "llama_cpp", "q4_k_m", (RTX_4090,) * 2, 131072, 1, "f16")
    sizing = size(asked)
    tokens = most_tokens(sizing)
    assert sizing.verdict == "NO"
    assert 4096 <= tokens < 131072
    assert size(replace(asked, context=tokens)).verdict == "TIGHT"
    assert size(replace(asked, context=tokens + 256)).verdict == "NO"


def test_of_unequal_cards_each_reads_its_share() -> None:
    slow, fast = GPUS["Tesla P40"], GPUS["GeForce RTX 3090"]
    asked = Request(MODELS["llama-3.1-8b"], "llama_cpp", "q8_0", (slow, fast), 4096, 1, "f16")
    times = {}
    for gpus in ((slow, slow), (slow, fast), (fast, fast)):
        times[gpus] = size(replace(asked, gpus=gpus)).layouts[0].step_s or 0.0
    assert times[fast, fast] < times[slow, fast] < times[slow, slow]


ORDER = {"PASS": 0, "TIGHT": 1, "NO": 2}
ENGINE_FORMATS = [("llama_cpp", "q4_k_m"), ("llama_cpp", "q8_0"), ("vllm", "bf16"), ("vllm", "w4a16")]


@settings(max_examples=60, deadline=None)
@given(
    model=st.sampled_from([each for each in MODELS.values() if each.context >= 8192]),
    engine=st.sampled_from(ENGINE_FORMATS),
    count=st.sampled_from([1, 2, 4, 8]),
    context=st.integers(1, 8192),
    users=st.integers(1, 64),
)
def test_more_of_what_is_asked_never_fits_better(
    model: ModelFacts, engine: tuple[str, str], count: int, context: int, users: int
) -> None:
    asked = Request(model, *engine, (RTX_4090,) * count, context, users, "f16", 128 * GIB)
    verdict = ORDER[size(asked).verdict]
    assert ORDER[size(replace(asked, users=users + 1)).verdict] >= verdict
    assert ORDER[size(replace(asked, gpus=(H100,) * count)).verdict] <= verdict
    for layout in size(asked).layouts:
        assert len(layout.needs) == count
        assert all(need.weights > 0 and need.free <= need.memory for need in layout.needs)
