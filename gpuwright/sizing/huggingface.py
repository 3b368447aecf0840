"""ModelFacts from a config.json as transformers writes it."""

from __future__ import annotations

from collections.abc import Mapping

from gpuwright.errors import GpuwrightError
from gpuwright.plan.sizing.model import Experts, Latent, ModelFacts

Config = Mapping[str, object]

# model_type: our architecture, biases, norms of queries and keys, norm vectors of a layer.
_KINDS = {
    "llama": ("llama", "none", False, 2),
    "mistral": ("mistral", "none", False, 2),
    "mixtral": ("mixtral", "none", False, 2),
    "qwen2": ("qwen2", "qkv", False, 2),
    "qwen3": ("qwen3", "none", True, 2),
    "qwen3_moe": ("qwen3moe", "none", True, 2),
    "phi3": ("phi3", "none", False, 2),
    "gemma2": ("gemma2", "none", False, 4),
    "gemma3_text": ("gemma3", "none", True, 4),
    "deepseek_v2": ("deepseek2", "none", False, 2),
    "deepseek_v3": ("deepseek2", "none", False, 2),
    "kimi_k2": ("deepseek2", "none", False, 2),
    "gpt_oss": ("gpt-oss", "all", False, 2),
}
_TIED = ("gemma2", "gemma3_text")
_NATIVE = ("fp8", "mxfp4", "awq", "gptq", "fbgemm_fp8")
_COMPRESSED = {("int", 4): "w4a16", ("int", 8): "w8a8", ("float", 8): "fp8", ("float", 4): "nvfp4"}
_MODELOPT = {"FP8": "fp8", "NVFP4": "nvfp4"}


def from_config(name: str, document: Config) -> ModelFacts:
    """The model of a config.json. Raises GpuwrightError for a model type that is not known, or a value that lacks."""
    text = document.get("text_config")
    config: Config = text if isinstance(text, dict) else document
    kind = str(config.get("model_type", ""))
    if kind not in _KINDS:
        remedy = (
            "Size it by a model of the same shape, or have its type added to gpuwright/sizing/huggingface.py."
        )
        raise GpuwrightError.of(
            f"model {name}", f"its model_type is {kind or 'missing'}", ", ".join(_KINDS), remedy
        )
    architecture, biases, qk_norm, norms = _KINDS[kind]
    heads, hidden = _number(name, config, "num_attention_heads"), _number(name, config, "hidden_size")
    latent = _latent(name, config) if "kv_lora_rank" in config else None
    layers = _number(name, config, "num_hidden_layers")
    return ModelFacts(
        name=name,
        architecture=architecture,
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=_or(config, "num_key_value_heads", heads),
        head_dim=_number(name, config, "qk_nope_head_dim")
        if latent
        else _or(config, "head_dim", hidden // heads),
        ffn=_number(name, config, "intermediate_size"),
        vocab=_number(name, config, "vocab_size"),
        context=_context(name, config),
        native=_native(name, document),
        tied=bool(config.get("tie_word_embeddings", document.get("tie_word_embeddings", kind in _TIED))),
        biases=biases,
        qk_norm=qk_norm,
        norms=norms,
        experts=_experts(name, config),
        latent=latent,
        window=_window(config),
        window_layers=_window_layers(config, layers),
        source=f"config.json of {name}",
    )


def _experts(name: str, config: Config) -> Experts | None:
    count = next(
        (key for key in ("n_routed_experts", "num_local_experts", "num_experts") if config.get(key)), ""
    )
    if not count:
        return None
    width = _or(config, "moe_intermediate_size", _number(name, config, "intermediate_size"))
    return Experts(
        count=_number(name, config, count),
        active=_number(name, config, "num_experts_per_tok"),
        ffn=width,
        shared_ffn=_or(config, "n_shared_experts", 0) * width,
        dense_layers=_or(config, "first_k_dense_replace", 0),
    )


def _latent(name: str, config: Config) -> Latent:
    return Latent(
        q_rank=_or(config, "q_lora_rank", 0),
        kv_rank=_number(name, config, "kv_lora_rank"),
        rope_dim=_number(name, config, "qk_rope_head_dim"),
        value_dim=_number(name, config, "v_head_dim"),
    )


def _window(config: Config) -> int:
    used = config.get("use_sliding_window", True)
    return _or(config, "sliding_window", 0) if used else 0


def _window_layers(config: Config, layers: int) -> int:
    """How many layers look back on the window only: as listed, by Gemma's pattern, or all."""
    if not _window(config):
        return 0
    kinds = config.get("layer_types")
    if isinstance(kinds, list):
        return sum(kind == "sliding_attention" for kind in kinds)
    pattern = _or(config, "sliding_window_pattern", 2 if config.get("model_type") == "gemma2" else 0)
    return layers - layers // pattern if pattern else layers


def _native(name: str, document: Config) -> str:
    """The format of the weights. Raises GpuwrightError for one that is not known: 16 bits would be a guess."""
    quantised = document.get("quantization_config")
    if not isinstance(quantised, dict):
        return "bf16"
    method, bits = str(quantised.get("quant_method", "")), quantised.get("bits", 4)
    if method in _NATIVE and (method not in ("awq", "gptq") or bits == 4):
        return method
    if method == "compressed-tensors" and (format_ := _COMPRESSED.get(_compressed(quantised))):
        return format_
    if method == "modelopt" and (format_ := _MODELOPT.get(str(quantised.get("quant_algo")))):
        return format_
    remedy = "Size it by name with --quant and the nearest of them."
    known = ", ".join((*_NATIVE, "compressed-tensors", "modelopt"))
    raise GpuwrightError.of(
        f"model {name}", f"its weights are {method or 'quantised'}, {bits} bits", known, remedy
    )


def _compressed(quantised: Config) -> tuple[str, int]:
    """Type and bits of the weights of compressed-tensors' first group."""
    groups = quantised.get("config_groups")
    first = next(iter(groups.values()), None) if isinstance(groups, dict) else None
    weights = first.get("weights") if isinstance(first, dict) else None
    return (str(weights.get("type")), _or(weights, "num_bits", 0)) if isinstance(weights, dict) else ("", 0)


def _context(name: str, config: Config) -> int:
    """What it was trained for, and what its own scaling of positions makes of that."""
    trained = _number(name, config, "max_position_embeddings")
    scaling = config.get("rope_scaling")
    if not isinstance(scaling, dict):
        return trained
    factor, original = scaling.get("factor"), _or(scaling, "original_max_position_embeddings", 0)
    if not isinstance(factor, int | float) or not original:
        return trained
    return max(trained, int(original * factor))


def _number(name: str, config: Config, key: str) -> int:
    value = config.get(key)
    if type(value) is not int or value < 1:
        raise GpuwrightError.of(
            f"model {name}", f"{key} is {value!r}", "a number of 1 or more", "Get the whole config.json."
        )
    return value


def _or(config: Config, key: str, default: int) -> int:
    value = config.get(key)
    return value if type(value) is int else default
