"""Shapes of models: what the catalogue says, and what a config.json says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpuwright import catalog
from gpuwright.catalog.architectures import ArchitectureShape
from gpuwright.errors import GpuwrightError
from gpuwright.plan.sizing.model import ModelFacts
from gpuwright.sizing import models

ROWS = {row.name: row for row in catalog.load().architectures}

# config.json of published models, without what sizing does not read.
LLAMA_3_1_8B = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "tie_word_embeddings": False,
    "vocab_size": 128256,
}
QWEN3_30B_A3B = {
    "model_type": "qwen3_moe",
    "head_dim": 128,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "max_position_embeddings": 40960,
    "moe_intermediate_size": 768,
    "num_attention_heads": 32,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 48,
    "num_key_value_heads": 4,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
DEEPSEEK_V3 = {
    "model_type": "deepseek_v3",
    "first_k_dense_replace": 3,
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "kv_lora_rank": 512,
    "max_position_embeddings": 163840,
    "moe_intermediate_size": 2048,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_attention_heads": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 61,
    "num_key_value_heads": 128,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "quantization_config": {"quant_method": "fp8"},
    "tie_word_embeddings": False,
    "v_head_dim": 128,
    "vocab_size": 129280,
}
GPT_OSS_20B = {
    "model_type": "gpt_oss",
    "head_dim": 64,
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "layer_types": ["sliding_attention", "full_attention"] * 12,
    "max_position_embeddings": 131072,
    "num_attention_heads": 64,
    "num_experts_per_tok": 4,
    "num_hidden_layers": 24,
    "num_key_value_heads": 8,
    "num_local_experts": 32,
    "quantization_config": {"quant_method": "mxfp4"},
    "sliding_window": 128,
    "tie_word_embeddings": False,
    "vocab_size": 201088,
}
CONFIGS = {
    **{"llama-3.1-8b": LLAMA_3_1_8B, "qwen3-30b-a3b": QWEN3_30B_A3B},
    **{"deepseek-v3": DEEPSEEK_V3, "gpt-oss-20b": GPT_OSS_20B},
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_shape_gives_the_published_number_of_parameters(row: ArchitectureShape) -> None:
    assert ModelFacts.of(row).parameters == row.parameters


def test_names_are_unique() -> None:
    names = [name for row in ROWS.values() for name in (row.name, *row.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_says_what_the_catalogue_says(name: str, tmp_path: Path) -> None:
    directory = tmp_path / name
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(CONFIGS[name]))
    read, known = models.find(str(directory)), ModelFacts.of(ROWS[name])
    assert read == ModelFacts(**{**vars(known), "source": read.source})


def test_a_model_of_many_experts_passes_few_of_its_parameters() -> None:
    """DeepSeek says 37 billion of 671."""
    assert 36e9 < ModelFacts.of(ROWS["deepseek-v3"]).active_parameters < 38e9


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("[]", "is no JSON object"),
        ("{", "is no JSON"),
        ("{}", "its model_type is missing"),
        ('{"model_type": "mamba"}', "its model_type is mamba"),
        (json.dumps({**LLAMA_3_1_8B, "hidden_size": None}), "hidden_size is None"),
        (json.dumps({**LLAMA_3_1_8B, "vocab_size": -1}), "vocab_size is -1"),
    ],
)
def test_a_config_that_cannot_be_read_is_refused(config: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(GpuwrightError, match=said):
        models.find(str(tmp_path))


def test_a_name_that_nobody_knows_is_refused_with_the_nearest() -> None:
    with pytest.raises(GpuwrightError, match=r"Did you mean llama-3"):
        models.find("lama-3-70b")
