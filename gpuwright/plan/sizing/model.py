"""ModelFacts: what sizing knows of a model, and the matrices that it is made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gpuwright.catalog.architectures import ArchitectureShape

Role = Literal["embedding", "output", "q", "k", "v", "o", "latent", "gate", "up", "down", "router", "vectors"]


@dataclass(frozen=True)
class Experts:
    """A mixture of `count` experts, `active` of them for a token; `shared_ffn` wide is what every token passes as well.

    `dense_layers` layers without experts come first.
    """

    count: int
    active: int
    ffn: int
    shared_ffn: int = 0
    dense_layers: int = 0


@dataclass(frozen=True)
class Latent:
    """Multi-head latent attention (MLA): the cache holds `kv_rank` + `rope_dim` values a token and layer.

    `q_rank` is 0 where queries are not compressed.
    """

    q_rank: int
    kv_rank: int
    rope_dim: int
    value_dim: int


@dataclass(frozen=True)
class ModelFacts:
    """A decoder-only transformer; lengths in elements, `context` in tokens.

    `native` is the format that its weights were published in. `window` tokens are all that `window_layers` of the
    layers look back on. `biases` is none, qkv or all; `norms` counts the norm vectors of a layer. `file_bytes` is what
    all tensors take in files of the native format (`gguf`, or safetensors), 0 where nobody looked at them.
    """

    name: str
    architecture: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    context: int
    native: str = "bf16"
    tied: bool = False
    biases: str = "none"
    qk_norm: bool = False
    norms: int = 2
    experts: Experts | None = None
    latent: Latent | None = None
    window: int = 0
    window_layers: int = 0
    file_bytes: int = 0
    gguf: bool = False
    source: str = ""

    @classmethod
    def of(cls, row: ArchitectureShape) -> ModelFacts:
        """The catalogue's row."""
        experts = Experts(row.experts, row.active_experts, row.expert_ffn, row.shared_ffn, row.dense_layers)
        return cls(
            name=row.name,
            architecture=row.architecture,
            layers=row.layers,
            hidden=row.hidden,
            heads=row.heads,
            kv_heads=row.kv_heads,
            head_dim=row.head_dim,
            ffn=row.ffn,
            vocab=row.vocab,
            context=row.context,
            native=row.native,
            tied=row.tied,
            biases=row.biases,
            qk_norm=row.qk_norm,
            norms=row.norms,
            experts=experts if row.experts else None,
            latent=Latent(row.q_rank, row.kv_rank, row.rope_dim, row.value_dim) if row.kv_rank else None,
            window=row.window,
            window_layers=row.window_layers,
            source=row.source,
        )

    @property
    def parameters(self) -> int:
        """All of them, once."""
        return sum(matrix.elements for matrix in matrices(self))

    @property
    def active_parameters(self) -> int:
        """Those that a token passes, without the embedding, of which it reads one row."""
        return sum(matrix.active_elements for matrix in matrices(self) if matrix.role != "embedding")


def chosen(model: ModelFacts, matrix: Matrix, layers: int) -> bool:
    """Whether a matrix is of the experts of the first `layers` layers that have some."""
    return bool(model.experts and matrix.expert and matrix.layer < model.experts.dense_layers + layers)


def impossible(model: ModelFacts) -> str:
    """What in its values no transformer has; "" for a model that may be."""
    counts = ("layers", "hidden", "heads", "kv_heads", "head_dim", "vocab", "context")
    for name in counts:
        if type(getattr(model, name)) is not int or getattr(model, name) < 1:
            return f"{name} is {getattr(model, name)!r}"
    if model.heads % model.kv_heads:
        return f"{model.heads} heads share {model.kv_heads} key-value heads"
    if not 0 <= model.window_layers <= model.layers or model.window < 0:
        return f"{model.window_layers} of {model.layers} layers have a window of {model.window}"
    experts = model.experts
    dense = model.layers if experts is None else experts.dense_layers
    if not 0 <= dense <= model.layers or (dense and model.ffn < 1):
        return f"{dense} of {model.layers} layers are dense, {model.ffn} wide"
    if experts and not (0 < experts.active <= experts.count and experts.ffn > 0 and experts.shared_ffn >= 0):
        return f"{experts.active} of {experts.count} experts are active, {experts.ffn} wide"
    latent = model.latent
    if latent and min(latent.kv_rank, latent.rope_dim, latent.value_dim, latent.q_rank + 1) < 1:
        return f"its latent attention is {latent.kv_rank}, {latent.rope_dim}, {latent.value_dim}, {latent.q_rank}"
    return ""


@dataclass(frozen=True)
class Matrix:
    """`count` matrices of `columns` (what a row is quantised along) times `rows`, of which a token passes `active`.

    `layer` is -1 outside the layers. `expert` marks those of which tokens choose.
    """

    role: Role
    layer: int
    columns: int
    rows: int
    count: int = 1
    active: int = 1
    expert: bool = False

    @property
    def elements(self) -> int:
        return self.columns * self.rows * self.count

    @property
    def active_elements(self) -> int:
        return self.columns * self.rows * self.active


def matrices(model: ModelFacts) -> Iterator[Matrix]:
    """Everything that is stored: embedding, layers, output; vectors (norms, biases) as matrices of one column."""
    yield Matrix("embedding", -1, model.hidden, model.vocab)
    for layer in range(model.layers):
        yield from _attention(model, layer)
        yield from _ffn(model, layer)
        yield Matrix("vectors", layer, 1, model.norms * model.hidden)
    yield Matrix("vectors", -1, 1, model.hidden)
    if not model.tied:
        yield Matrix("output", -1, model.hidden, model.vocab)


def _attention(model: ModelFacts, layer: int) -> Iterator[Matrix]:
    hidden, query = model.hidden, model.heads * model.head_dim
    if (latent := model.latent) is not None:
        query += model.heads * latent.rope_dim
        if latent.q_rank:
            yield Matrix("latent", layer, hidden, latent.q_rank)
            yield Matrix("q", layer, latent.q_rank, query)
        else:
            yield Matrix("q", layer, hidden, query)
        yield Matrix("latent", layer, hidden, latent.kv_rank + latent.rope_dim)
        yield Matrix("k", layer, latent.kv_rank, model.heads * model.head_dim)
        yield Matrix("v", layer, latent.kv_rank, model.heads * latent.value_dim)
        yield Matrix("o", layer, model.heads * latent.value_dim, hidden)
        yield Matrix("vectors", layer, 1, latent.q_rank + latent.kv_rank)
        return
    key = model.kv_heads * model.head_dim
    yield Matrix("q", layer, hidden, query)
    yield Matrix("k", layer, hidden, key)
    yield Matrix("v", layer, hidden, key)
    yield Matrix("o", layer, query, hidden)
    vectors = 2 * model.head_dim if model.qk_norm else 0
    if model.biases != "none":
        vectors += query + 2 * key
    if model.biases == "all":
        vectors += hidden + model.heads  # the output's, and a sink for each head
    if vectors:
        yield Matrix("vectors", layer, 1, vectors)


def _ffn(model: ModelFacts, layer: int) -> Iterator[Matrix]:
    hidden, experts = model.hidden, model.experts
    if experts is None or layer < experts.dense_layers:
        yield from _gated(layer, hidden, model.ffn)
        return
    yield from _gated(layer, hidden, experts.ffn, experts)
    if experts.shared_ffn:
        yield from _gated(layer, hidden, experts.shared_ffn)
    yield Matrix("router", layer, hidden, experts.count)
    if model.biases == "all":
        yield Matrix("vectors", layer, 1, experts.count * (2 * experts.ffn + hidden + 1))


def _gated(layer: int, hidden: int, ffn: int, experts: Experts | None = None) -> Iterator[Matrix]:
    count, active = (experts.count, experts.active) if experts else (1, 1)
    yield Matrix("gate", layer, hidden, ffn, count, active, experts is not None)
    yield Matrix("up", layer, hidden, ffn, count, active, experts is not None)
    yield Matrix("down", layer, ffn, hidden, count, active, experts is not None)
