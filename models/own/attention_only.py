"""A small transformer over tokens: attention only, or with MLPs if `d_mlp` is set.

For a layer with states h [batch, pos, d_model], row convention, norm() the layer norm or nothing:

    q, k, v = norm(h) W_Q + b_Q, …           q and k are rotated if positions are rotary, and formed from
                                             norm(h) + W_pos if they are shortformer
    h <- h + softmax(q k^T / attention_scale) v W_O + b_O
    h <- h + act(norm(h) W_in + b_in) W_out + b_out          if there are MLPs; with gated ones, for x = norm(h):
    h <- h + (act(x W_gate) * (x W_in) + b_in) W_out + b_out
    logits = norm(h) W_U + b_U               after the last layer
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...data.errors import CheckpointRefused, UsageError
from ...data.settings import check_settings, read_settings
from ..attention import Scoring, masked_scores
from ..language_model import LanguageModel, LanguageModelShape
from ..norms import Norm
from ..rotary import Rotary
from ..subject import NotApplicable, Source
from ..taps import AllSeen, Halfway, Taps
from ..weights import AttentionWeights
from .config import check_shapes
from .key_values import StackedKeyValues
from .mlp_reading import StackedReading

INIT_SCALE = 0.02
"""Standard deviation of initial weights where no recipe is recorded: the value of GPT-2 and related models."""
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": nn.functional.relu,
    "gelu": nn.functional.gelu,
    "gelu_tanh": partial(nn.functional.gelu, approximate="tanh"),
    "silu": nn.functional.silu,
}


@dataclass(frozen=True)
class AttentionOnlyConfig:
    """The transformer's sizes and settings.

    d_vocab, n_ctx:      size of the vocabulary, and the longest sequence in tokens
    d_vocab_out:         number of logits, where they are not those of the tokens; 0: no unembedding at all
    n_heads, d_head:     number of heads, and width of queries, keys and values
    d_mlp:               hidden width of the MLPs; None: no MLPs
    activation:          activation function of the MLPs
    gated_mlp:           MLPs multiply the activation of one projection by another projection
    norm:                before attention, MLP and unembedding: "layer" norm, "rms" norm or "none"
    norm_eps:            added to the variance or to the mean square
    positions:           "learned" and "sinusoidal" are added to the embeddings; "rotary" rotates q and k; learned ones
                         of a "shortformer" are added to what q and k are formed from, in every layer, and to nothing
                         else (Press et al. 2021, arXiv 2012.15832)
    rotary_width:        dimensions of a head that are rotated; None: all
    rotary_base:         base of the rotary frequencies
    rotary_interleaved:  pairs are neighbouring dimensions; otherwise dimensions half a width apart
    attention_scale:     scores are divided by it; None: by the root of d_head
    causal:              causal attention; False: bidirectional
    """

    d_vocab: Annotated[int, Ge(1)]
    n_ctx: Annotated[int, Ge(1)]
    d_model: Annotated[int, Ge(1)]
    n_layers: Annotated[int, Ge(1)]
    n_heads: Annotated[int, Ge(1)]
    d_head: Annotated[int, Ge(1)]
    d_vocab_out: Annotated[int, Ge(0)] | None = None
    d_mlp: Annotated[int, Ge(1)] | None = None
    activation: Literal["relu", "gelu", "gelu_tanh", "silu"] = "gelu"
    gated_mlp: bool = False
    norm: Literal["layer", "rms", "none"] = "layer"
    norm_eps: Annotated[float, Gt(0)] = 1e-5
    positions: Literal["learned", "sinusoidal", "rotary", "shortformer", "none"] = "learned"
    rotary_width: int | None = None
    rotary_base: Annotated[float, Gt(0)] = 10_000.0
    rotary_interleaved: bool = False
    attention_scale: Annotated[float, Gt(0)] | None = None
    causal: bool = True

    def __post_init__(self) -> None:
        check_settings(self, "config: ", CheckpointRefused)
        width = self.rotated
        if self.positions == "rotary" and (width % 2 or not 2 <= width <= self.d_head):
            raise CheckpointRefused(
                f"config: {width} rotary dimensions; expected an even number from 2 to d_head = {self.d_head}"
            )
        if self.gated_mlp and self.d_mlp is None:
            raise CheckpointRefused("config: gated_mlp = True without d_mlp; expected the width of the MLPs")
        if self.positions == "sinusoidal" and self.d_model % 2:
            raise CheckpointRefused(
                f"config: d_model = {self.d_model}; expected an even number for sinusoidal positions"
            )

    @property
    def n_logits(self) -> int:
        """Width of the unembedding; 0: there is none."""
        return self.d_vocab if self.d_vocab_out is None else self.d_vocab_out

    @property
    def rotated(self) -> int:
        """Dimensions of a head that rotary positions rotate."""
        return self.d_head if self.rotary_width is None else self.rotary_width

    @property
    def scale(self) -> float:
        """Factor on the scores."""
        return 1 / (math.sqrt(self.d_head) if self.attention_scale is None else self.attention_scale)

    @property
    def rotary(self) -> Rotary | None:
        if self.positions != "rotary":
            return None
        return Rotary(Rotary.of_base(self.rotary_base, self.rotated).frequencies, self.rotary_interleaved)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every parameter with its shape."""
        layers, heads, d_model = self.n_layers, self.n_heads, self.d_model
        shapes: dict[str, tuple[int, ...]] = {"W_E": (self.d_vocab, d_model)}
        if self.positions in ("learned", "shortformer"):
            shapes["W_pos"] = (self.n_ctx, d_model)
        for role in "QKV":
            shapes |= {f"W_{role}": (layers, heads, d_model, self.d_head), f"b_{role}": (layers, heads, self.d_head)}
        shapes |= {"W_O": (layers, heads, self.d_head, d_model), "b_O": (layers, d_model)}
        norms: dict[str, tuple[int, ...]] = {"ln1": (layers, d_model), "ln_final": (d_model,)}
        if self.d_mlp is not None:
            shapes |= {"W_in": (layers, d_model, self.d_mlp), "b_in": (layers, self.d_mlp)}
            shapes |= {"W_out": (layers, self.d_mlp, d_model), "b_out": (layers, d_model)}
            norms["ln2"] = (layers, d_model)
        if self.gated_mlp and self.d_mlp is not None:
            shapes["W_gate"] = (layers, d_model, self.d_mlp)
        vectors = {"layer": ("scale", "offset"), "rms": ("scale",), "none": ()}[self.norm]
        shapes |= {f"{name}_{vector}": shape for name, shape in norms.items() for vector in vectors}
        return shapes | ({"W_U": (d_model, self.n_logits), "b_U": (self.n_logits,)} if self.n_logits else {})

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AttentionOnlyConfig:
        return read_settings(cls, values, "config: ", refused=CheckpointRefused)


class AttentionOnlyTransformer(nn.Module):
    """The transformer as a differentiable `nn.Module`. `AttentionOnlyConfig.shapes` lists its parameters."""

    W_E: Tensor
    W_O: Tensor
    b_O: Tensor
    W_U: Tensor
    b_U: Tensor
    W_pos: Tensor
    W_gate: Tensor

    def __init__(self, config: AttentionOnlyConfig, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()
        check_shapes(parameters, config.shapes)
        for name in config.shapes:
            self.register_parameter(name, nn.Parameter(parameters[name], requires_grad=False))
        self.config = config

    def weights(self, folded: bool = False) -> AttentionWeights:
        """Attention weights, as stored or with the norm before attention folded in."""
        parameters = {name: parameter.detach() for name, parameter in self.named_parameters()}
        weights = AttentionWeights(
            W_Q=parameters["W_Q"],
            W_K=parameters["W_K"],
            W_V=parameters["W_V"],
            W_O=parameters["W_O"],
            b_Q=parameters["b_Q"],
            b_K=parameters["b_K"],
            b_V=parameters["b_V"],
            b_O=parameters["b_O"],
            folded=folded,
            rotary=self.config.rotary,
        )
        if not folded or self.config.norm == "none":
            return weights
        return weights.with_norm_folded(parameters["ln1_scale"], parameters.get("ln1_offset"))

    def forward(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_vocab_out"]:
        return self.unembed(self.states(tokens, Taps(None, None)))

    def unembed(self, state: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_vocab_out"]:
        return state @ self.W_U + self.b_U

    def states(self, tokens: Int[Tensor, "batch pos"], tap: Taps) -> Float[Tensor, "batch pos d_model"]:
        """States after the final norm; `tap` is called at every site on the way."""
        return self.states_of(tap("embed", 0, self.W_E[tokens]), tap)

    def states_of(self, h: Float[Tensor, "batch pos d_model"], tap: Taps) -> Float[Tensor, "batch pos d_model"]:
        """The same for embeddings, before positions."""
        added = self._positions(h.shape[1])
        return self.states_from(0, h if added is None else h + added, tap)

    def states_from(
        self, first: int, h: Float[Tensor, "batch pos d_model"], tap: Taps
    ) -> Float[Tensor, "batch pos d_model"]:
        """The same for what enters a layer."""
        for layer in range(first, self.config.n_layers):
            h = tap("resid_pre", layer, h)
            h = h + tap("attn_out", layer, self._attention(self.norm("ln1", layer)(h), layer, tap))
            if self.config.d_mlp is not None:
                h = tap("resid_mid", layer, h)
                h = h + tap("mlp_out", layer, self._mlp(self.norm("ln2", layer)(h), layer))
            h = tap("resid_post", layer, h)
        h = tap("final", 0, h)
        return tap("final_norm", 0, self.norm("ln_final")(h))

    def _positions(self, n: int) -> Float[Tensor, "pos d_model"] | None:
        """The position embeddings that are added to the token embeddings; None: nothing is added."""
        if self.config.positions == "learned":
            return self.W_pos[:n]
        if self.config.positions == "sinusoidal":
            return sinusoidal(n, self.config.d_model).to(self.W_E)
        return None

    def _attention(self, x: Tensor, layer: int, tap: Taps) -> Float[Tensor, "batch pos d_model"]:
        scored = self.with_positions(x)
        q, k = (tap(site, layer, self._project(scored, site.upper(), layer)) for site in ("q", "k"))
        v = tap("v", layer, self._project(x, "V", layer))
        for project, beside in tap.beside:
            other_q, other_k = (heads(scored, layer) for heads in project)
            self._attended(other_q, other_k, v, layer, beside)
        z = self._attended(q, k, v, layer, tap)
        out = einsum(z, self.W_O[layer], "batch head pos d_head, head d_head d_model -> batch pos d_model")
        return out + self.b_O[layer]

    def _attended(
        self,
        q: Float[Tensor, "batch head pos d_head"],
        k: Float[Tensor, "batch head pos d_head"],
        v: Float[Tensor, "batch head pos d_head"],
        layer: int,
        tap: Taps,
    ) -> Float[Tensor, "batch head pos d_head"]:
        """z of q, k and v as they are projected."""
        if (rotary := self.config.rotary) is not None:
            positions = torch.arange(q.shape[2], device=q.device)
            q, k = rotary.rotate(q, positions), rotary.rotate(k, positions)
        scale, causal = self.config.scale, self.config.causal
        z = tap.attention(layer, q, k, v, Scoring(scale, causal))
        if tap.wants("pattern"):
            z = tap("pattern", layer, masked_scores(q, k, scale, causal).softmax(dim=-1)) @ v
        elif z is None:
            z = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scale)
        return tap("z", layer, z)

    def with_positions(self, x: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch pos d_model"]:
        """What q and k are formed from, of what v is formed from."""
        return x + self.W_pos[: x.shape[1]] if self.config.positions == "shortformer" else x

    def _project(self, x: Tensor, role: str, layer: int) -> Float[Tensor, "batch head pos d_head"]:
        W, b = getattr(self, f"W_{role}")[layer], getattr(self, f"b_{role}")[layer]
        return einsum(x, W, "batch pos d_model, head d_model d_head -> batch head pos d_head") + b[:, None]

    def _mlp(self, x: Tensor, layer: int) -> Float[Tensor, "batch pos d_model"]:
        W_in, b_in, W_out, b_out = (getattr(self, name)[layer] for name in ("W_in", "b_in", "W_out", "b_out"))
        act = _ACTIVATIONS[self.config.activation]
        hidden = act(x @ self.W_gate[layer]) * (x @ W_in) + b_in if self.config.gated_mlp else act(x @ W_in + b_in)
        return hidden @ W_out + b_out

    def norm(self, name: str, layer: int | None = None) -> Norm:
        """The norm ln1 or ln2 of a layer, or ln_final."""
        if self.config.norm == "none":
            return Norm()
        place = slice(None) if layer is None else layer
        scale = getattr(self, f"{name}_scale")[place]
        offset = getattr(self, f"{name}_offset")[place] if self.config.norm == "layer" else None
        return Norm(self.config.norm, scale, offset, self.config.norm_eps)


class AttentionOnlyModel(LanguageModel):
    """An `AttentionOnlyTransformer` as a subject."""

    def __init__(self, module: AttentionOnlyTransformer, source: Source, tokenizer: Any | None = None) -> None:
        config = module.config
        self.module = module
        self.source = source
        self.tokenizer = tokenizer
        self.packages = () if tokenizer is None else ("tokenizers",)
        self.shape = LanguageModelShape(
            n_layers=config.n_layers,
            n_heads=config.n_heads,
            n_kv_heads=config.n_heads,
            d_model=config.d_model,
            d_head=config.d_head,
            d_vocab=config.d_vocab,
            n_ctx=config.n_ctx,
            causal=config.causal,
            positions="other" if config.positions == "shortformer" else config.positions,
        )

    @property
    def config(self) -> AttentionOnlyConfig:
        return self.module.config

    @property
    def dtype(self) -> torch.dtype:
        return self.module.W_E.dtype

    @property
    def device(self) -> torch.device:
        return self.module.W_E.device

    def weights(self, folded: bool = False) -> AttentionWeights:
        return self.module.weights(folded)

    def untrained(self, seed: int) -> AttentionOnlyModel:
        rng = torch.Generator().manual_seed(seed)
        scale = float(self.source.record.get("recipe", {}).get("init_scale", INIT_SCALE))
        parameters = {
            name: torch.full(shape, float(name.endswith("_scale")))
            if name.startswith(("b_", "ln"))
            else torch.randn(shape, generator=rng) * scale
            for name, shape in self.config.shapes.items()
        }
        module = AttentionOnlyTransformer(self.config, parameters).to(device=self.device, dtype=self.dtype)
        return AttentionOnlyModel(module, self._untrained_source(), self.tokenizer)

    def _states(
        self, tokens: Int[Tensor, "batch pos"], taps: Taps, begun: Halfway | None = None
    ) -> Float[Tensor, "batch pos d_model"]:
        if begun is None or begun.layer == 0:
            return self.module.states(tokens, taps)
        return self.module.states_from(begun.layer, begun.answer, taps)

    def _handed_to(self, layer: int, tokens: Int[Tensor, "batch pos"], begun: Halfway | None) -> Tensor:
        kept: list[Tensor] = []

        def keep(resid_pre: Tensor, at: int) -> None:
            if at == layer:
                kept.append(resid_pre)
                raise AllSeen

        with suppress(AllSeen):
            self._states(tokens, Taps({"resid_pre": keep}, None), begun)
        return kept.pop()

    def attention_input(
        self, resid_pre: Float[Tensor, "batch pos d_model"], layer: int, folded: bool = False
    ) -> Float[Tensor, "batch pos d_model"]:
        """The input of q and k: q = attention_input(resid_pre) @ W_Q + b_Q. Shortformer positions are part of it, but
        not of the input of v. With folded weights they are divided by the scale that those contain.
        """
        norm = self.module.norm("ln1", layer)
        if not folded or norm.scale is None:
            return self.module.with_positions(norm(resid_pre))
        read = norm.without_affine()(resid_pre)
        return read + (self.module.with_positions(read) - read) / norm.scale

    @property
    def final_norm(self) -> Norm:
        return self.module.norm("ln_final")

    def embedding(self) -> Float[Tensor, "d_vocab d_model"]:
        return self.module.W_E.detach()

    def unembedding(self) -> Float[Tensor, "d_model d_vocab"] | NotApplicable:
        return self.no_token_logits() or self.module.W_U.detach()

    def no_token_logits(self) -> NotApplicable | None:
        n_logits, d_vocab = self.config.n_logits, self.config.d_vocab
        if n_logits in (0, d_vocab):
            return super().no_token_logits()
        return NotApplicable(f"this model has {n_logits} outputs, which are not those of its {d_vocab} tokens")

    def _require_head(self) -> None:
        if not self.config.n_logits:
            raise UsageError(f"{self.source.name}: has no unembedding, so it has no logits; read its states instead")

    def unembed(self, state: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_vocab"]:
        return self.module.unembed(state)

    def key_value_places(self) -> StackedKeyValues:
        return StackedKeyValues(self.config.n_layers)

    def mlp_reading(self) -> StackedReading | NotApplicable:
        if self.config.d_mlp is None:
            return NotApplicable(f"{self.source.name} has no MLPs")
        return StackedReading(self.config.n_layers, self.config.gated_mlp, lambda layer: self.module.norm("ln2", layer))


def sinusoidal(n: int, width: int) -> Float[Tensor, "pos width"]:
    """Sines in even dimensions, cosines in odd ones (Vaswani et al. 2017, arXiv 1706.03762, section 3.5); float64."""
    frequencies = Rotary.of_base(10_000.0, width).frequencies
    angles = torch.arange(n, dtype=torch.float64)[:, None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)
