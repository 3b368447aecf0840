"""Models from the headers of GGUF files: a real tiny one, and large ones that have nothing but their header."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from gpuwright import catalog
from gpuwright.errors import GpuwrightError
from gpuwright.plan.sizing import Request, size
from gpuwright.plan.sizing.model import ModelFacts
from gpuwright.sizing import models

OK = Path(__file__).parents[1] / "fixtures" / "ok.gguf"
ROWS = {row.name: row for row in catalog.load().architectures}
GPUS = {row.name: row for row in catalog.load().gpus.rows}
U32, STRING, F32, Q8_0 = 4, 8, 0, 8


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def written(path: Path, metadata: dict[str, int | str], tensors: dict[str, tuple[int, ...]]) -> Path:
    """Matrices are Q8_0 and vectors F32; the tensors themselves are a hole in the file."""
    pairs = b"".join(
        text(key)
        + (
            struct.pack("<I", STRING) + text(value)
            if isinstance(value, str)
            else struct.pack("<II", U32, value)
        )
        for key, value in metadata.items()
    )
    infos, offset = b"", 0
    for name, shape in tensors.items():
        elements = 1
        for dimension in shape:
            elements *= dimension
        infos += text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        infos += struct.pack("<IQ", F32 if len(shape) == 1 else Q8_0, offset)
        offset += elements * 4 if len(shape) == 1 else elements // 32 * 34
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)) + pairs + infos)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + 64 + offset)
    return path


def qwen3_moe(path: Path) -> Path:
    """Qwen3-30B-A3B as convert_hf_to_gguf.py names its parts."""
    row = ROWS["qwen3-30b-a3b"]
    prefix = "qwen3moe"
    metadata: dict[str, int | str] = {
        "general.architecture": prefix,
        "general.file_type": 7,
        f"{prefix}.block_count": row.layers,
        f"{prefix}.context_length": row.context,
        f"{prefix}.embedding_length": row.hidden,
        f"{prefix}.feed_forward_length": row.ffn,
        f"{prefix}.attention.head_count": row.heads,
        f"{prefix}.attention.head_count_kv": row.kv_heads,
        f"{prefix}.attention.key_length": row.head_dim,
        f"{prefix}.attention.value_length": row.head_dim,
        f"{prefix}.expert_count": row.experts,
        f"{prefix}.expert_used_count": row.active_experts,
        f"{prefix}.expert_feed_forward_length": row.expert_ffn,
    }
    query, key = row.heads * row.head_dim, row.kv_heads * row.head_dim
    tensors: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (row.hidden, row.vocab),
        "output.weight": (row.hidden, row.vocab),
        "output_norm.weight": (row.hidden,),
    }
    for layer in range(row.layers):
        block = f"blk.{layer}"
        tensors |= {
            f"{block}.attn_q.weight": (row.hidden, query),
            f"{block}.attn_k.weight": (row.hidden, key),
            f"{block}.attn_v.weight": (row.hidden, key),
            f"{block}.attn_output.weight": (query, row.hidden),
            f"{block}.attn_q_norm.weight": (row.head_dim,),
            f"{block}.attn_k_norm.weight": (row.head_dim,),
            f"{block}.attn_norm.weight": (row.hidden,),
            f"{block}.ffn_norm.weight": (row.hidden,),
            f"{block}.ffn_gate_inp.weight": (row.hidden, row.experts),
            f"{block}.ffn_gate_exps.weight": (row.hidden, row.expert_ffn, row.experts),
            f"{block}.ffn_up_exps.weight": (row.hidden, row.expert_ffn, row.experts),
            f"{block}.ffn_down_exps.weight": (row.expert_ffn, row.hidden, row.experts),
        }
    return written(path, metadata, tensors)


def test_a_header_says_what_the_catalogue_says(tmp_path: Path) -> None:
    read, known = models.find(str(qwen3_moe(tmp_path / "m.gguf"))), ModelFacts.of(ROWS["qwen3-30b-a3b"])
    same = ("name", "native", "file_bytes", "gguf", "source")
    assert {**vars(read), **{key: vars(known)[key] for key in same}} == vars(known)
    assert read.native == "q8_0"


def test_in_its_own_format_a_file_is_sized_by_its_tensors(tmp_path: Path) -> None:
    model = models.find(str(qwen3_moe(tmp_path / "m.gguf")))
    (layout,) = size(Request(model, "llama_cpp", "q8_0", (GPUS["H100 SXM"],), 8192, 1, "f16")).layouts
    assert layout.needs[0].weights + layout.host == pytest.approx(model.file_bytes)


def test_a_real_file() -> None:
    model = models.find(str(OK))
    assert (model.layers, model.hidden, model.heads, model.vocab) == (1, 64, 2, 261)
    assert model.file_bytes < OK.stat().st_size


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"general.architecture": "llama"}, "its header has no llama.block_count"),
        ({"general.architecture": "llama", "split.count": 3}, "is one part of a split file"),
    ],
)
def test_a_header_without_what_sizing_needs_is_refused(
    metadata: dict[str, int | str], said: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "m.gguf", metadata, {"token_embd.weight": (64, 32)})
    with pytest.raises(GpuwrightError, match=said):
        models.find(str(path))


def test_a_file_that_is_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(OK.read_bytes()[:1000])
    with pytest.raises(GpuwrightError, match="inside its header"):
        models.find(str(path))
