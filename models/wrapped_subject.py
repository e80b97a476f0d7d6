"""WrappedLanguageModel: a function from token ids to logits, and what else is known of the model, as a subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..data.errors import UsageError
from .attention import Scoring, masked_scores
from .language_model import LanguageModel, LanguageModelShape
from .norms import Norm
from .subject import AttentionScores, Edit, NotApplicable, Reduce, Site, Source, Trace
from .taps import Halfway, OtherAttention, Taps
from .weights import AttentionWeights
from .wrapped_parts import WEIGHTS, OfIds, Parts, PatternScores, Reading, Sizes, as_norm, weight, without

_ORDER: tuple[Site, ...] = (
    "resid_pre", "q", "k", "v", "attention", "pattern", "z", "attn_out", "resid_mid", "mlp_out", "resid_post",
)  # fmt: skip
"""Sites of a layer, in the order of the pass."""
_SHOWN_BY: Mapping[Site, str] = {"embed": "W_E", "attention": "pattern", "final": "resid_post", "final_norm": "W_U"}
_NO_WEIGHTS = (
    "the model was wrapped without its attention weights; give them with from_language_model(…, W_Q=…, W_K=…, W_V=…,"
    " W_O=…)"
)
_NO_EDIT = (
    "mesascope calls a wrapped model and cannot change what happens inside it; open the model itself to edit it"
    " (models.load, models.from_module)"
)
_NO_REPLACING = (
    "mesascope calls a wrapped model and cannot replace its parameters; open the model itself (models.load,"
    " models.from_module)"
)


class WrappedLanguageModel(LanguageModel):
    """A function from token ids to logits as a subject. Sites that were not given are not shown, and none is edited.

    Sizes that no part tells (layers, heads, d_model) are 0. Without W_U, `run` returns the logits, and `unembed` hands
    them on.
    """

    attention_implementation = "the wrapped model's own"

    def __init__(
        self,
        function: OfIds,
        shape: LanguageModelShape,
        sizes: Sizes,
        given: Parts,
        source: Source,
        example: Tensor,
        tokenizer: Any | None,
    ) -> None:
        self.module = function
        self.shape, self.source, self.tokenizer = shape, source, tokenizer
        self.packages = () if tokenizer is None else ("tokenizers",)
        self.given, self.sizes, self._example = given, sizes, example
        self._tensors: dict[str, Tensor | None] = {part: weight(given, part, example) for part in WEIGHTS}
        layers, norms = range(shape.n_layers), given.get("attention_norms") or [Norm()] * shape.n_layers
        if len(norms) != shape.n_layers:
            raise UsageError(f"attention_norms holds {len(norms)} norms; expected {shape.n_layers}, one for each layer")
        self.attention_norms = [as_norm(norms[layer], "attention_norms", shape.d_model) for layer in layers]
        self._final_norm = as_norm(given.get("final_norm", Norm()), "final_norm", shape.d_model)
        self.scoring = Scoring(given.get("scale", max(shape.d_head, 1) ** -0.5), shape.causal)

    @property
    def dtype(self) -> torch.dtype:
        return self._example.dtype

    @property
    def device(self) -> torch.device:
        return self._example.device

    @property
    def has_weights(self) -> bool:
        return "W_Q" in self.given

    @property
    def not_shown(self) -> Mapping[Site, str]:
        shown_by = {site: _SHOWN_BY.get(site, site) for site in get_args(Site)}
        derived = {"q", "k", "v"} if self.has_weights else set()
        if "pattern" in self.given and (self.has_weights or "v" in self.given):
            derived.add("z")
        return {
            site: without(part) for site, part in shown_by.items() if part not in self.given and site not in derived
        }

    @property
    def final_norm(self) -> Norm:
        return self._final_norm

    def embedding(self) -> Float[Tensor, "d_vocab d_model"]:
        """W_E. UsageError where it was not given."""
        if (W_E := self._tensors["W_E"]) is None:
            raise UsageError(f"{self.source.name} has no embedding: {without('W_E')}")
        return W_E

    def no_embedded_states(self) -> NotApplicable | None:
        return None if "W_E" in self.given else NotApplicable(without("W_E"))

    def unembedding(self) -> Float[Tensor, "d_model d_vocab"] | NotApplicable:
        W_U = self._tensors["W_U"]
        return NotApplicable(without("W_U")) if W_U is None else W_U

    def weights(self, folded: bool = False) -> AttentionWeights | NotApplicable:
        if not self.has_weights:
            return NotApplicable(_NO_WEIGHTS)
        stacked: Any = {name: self._tensors[name] for role in "QKVO" for name in (f"W_{role}", f"b_{role}")}
        found = AttentionWeights(**stacked, rotary=self.given.get("rotary"))
        if not folded:
            return found
        ones = torch.ones(self.shape.d_model).to(self._example)
        scales = [ones if norm.scale is None else norm.scale.to(ones) for norm in self.attention_norms]
        offsets = [0 * ones if norm.offset is None else norm.offset.to(ones) for norm in self.attention_norms]
        has_offset = any(norm.offset is not None for norm in self.attention_norms)
        return found.with_norm_folded(torch.stack(scales), torch.stack(offsets) if has_offset else None)

    def key_value_places(self) -> NotApplicable:
        return NotApplicable(_NO_REPLACING)

    def attention_input(
        self, resid_pre: Float[Tensor, "batch pos d_model"], layer: int, folded: bool = False
    ) -> Float[Tensor, "batch pos d_model"]:
        norm = self.attention_norms[layer]
        return norm.without_affine()(resid_pre) if folded else norm(resid_pre)

    def unembed(self, state: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch d_vocab"]:
        """Logits of states after the final norm; without W_U of what `run` returns, which are the logits."""
        W_U, b_U = self._tensors["W_U"], self._tensors["b_U"]
        if W_U is None:
            return state
        return state @ W_U if b_U is None else state @ W_U + b_U

    def run(
        self,
        tokens: Int[Tensor, "batch pos"],
        watch: Mapping[Site, Reduce] | None = None,
        edit: Mapping[Site, Edit] | None = None,
        logits: bool = False,
        others: Sequence[OtherAttention] = (),
        begun: Halfway | None = None,
    ) -> Trace:
        """As of every language model, but UsageError for an edit, and for other attention without weights."""
        self._refuse(edit, others)
        return super().run(tokens, watch, edit, logits, others, begun)

    def observe(
        self,
        tokens: Int[Tensor, "batch pos"],
        watch: Mapping[Site, Reduce],
        edit: Mapping[Site, Edit] | None = None,
    ) -> Mapping[Site, list[Any]]:
        self._refuse(edit)
        return super().observe(tokens, watch, edit)

    def no_edits(self) -> NotApplicable:
        return NotApplicable(_NO_EDIT)

    def _refuse(self, edit: Mapping[Site, Edit] | None, others: Sequence[OtherAttention] = ()) -> None:
        if edit:
            raise UsageError(f"{self.source.name}: {' and '.join(edit)} cannot be edited: {_NO_EDIT}")
        weights = self.weights() if others else None
        if isinstance(weights, NotApplicable):
            raise UsageError(f"{self.source.name}: other attention cannot be computed: {weights.reason}")

    def _states(
        self, tokens: Int[Tensor, "batch pos"], taps: Taps, begun: Halfway | None = None
    ) -> Float[Tensor, "batch pos width"]:
        """States after the final norm, or without W_U the logits. The layers below `begun` are not watched."""
        read = Reading(self.given, self.sizes, tokens, self.dtype)
        first = 0 if begun is None else begun.layer
        if taps.wants("embed") and first == 0:
            taps("embed", 0, self.embedding()[tokens])
        for layer in range(first, self.shape.n_layers):
            for site in _ORDER:
                if site == "attention":
                    self._attend(layer, taps, read)
                elif taps.wants(site):
                    taps(site, layer, self.at(site, layer, read))
        if taps.wants("final"):
            taps("final", 0, read("resid_post")[-1])
        if "W_U" not in self.given:
            return self.read_logits(tokens)
        return taps("final_norm", 0, self._final_norm(read("resid_post")[-1]))

    def _handed_to(self, layer: int, tokens: Int[Tensor, "batch pos"], begun: Halfway | None) -> None:
        """Nothing: the functions that were given read whole sequences of tokens."""

    def read_logits(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_vocab"]:
        """What the wrapped function answers."""
        batch, pos = tokens.shape
        answer = self.sizes.bind("logits", "batch pos d_vocab", self.module(tokens), batch=batch, pos=pos)
        return answer.detach()

    def at(self, site: str, layer: int, read: Reading) -> Tensor:
        """One layer's activation, as given, or as made of what was given."""
        if site in self.given:
            return read(site)[layer]
        if site == "z":
            return mixed(read("pattern")[layer].to(self.dtype), self.at("v", layer, read))
        return self.projected(site, layer, read)

    def projected(self, site: str, layer: int, read: Reading) -> Float[Tensor, "batch some_head pos d_head"]:
        """q, k or v of the weights."""
        W, b = cast(Tensor, self._tensors[f"W_{site.upper()}"]), self._tensors[f"b_{site.upper()}"]
        heads = self.attention_input(read("resid_pre")[layer], layer)[:, None] @ W[layer]
        return heads if b is None else heads + b[layer][:, None]

    def written(self, layer: int, read: Reading) -> Float[Tensor, "batch pos d_model"]:
        """What the weights write of z."""
        W_O, b_O = cast(Tensor, self._tensors["W_O"])[layer], self._tensors["b_O"]
        out = (self.at("z", layer, read) @ W_O).sum(dim=1)
        return out if b_O is None else out + b_O[layer]

    def scores(self, layer: int, read: Reading) -> AttentionScores:
        """Of q and k where they are known, otherwise of the pattern alone."""
        if "k" in self.not_shown:
            return PatternScores.of_pattern(read("pattern")[layer], self.shape.causal)
        q, k = (self._rotated(self.at(site, layer, read)) for site in ("q", "k"))
        return AttentionScores.of(q, k, *self.scoring)

    def _rotated(
        self, heads: Float[Tensor, "batch some_head pos d_head"]
    ) -> Float[Tensor, "batch some_head pos d_head"]:
        rotary = self.given.get("rotary")
        return heads if rotary is None else rotary.rotate(heads, torch.arange(heads.shape[2], device=heads.device))

    def _attend(self, layer: int, taps: Taps, read: Reading) -> None:
        """The layer's attention, and other attention on the same states with its own v."""
        if taps.wants("attention"):
            taps._keep("attention", layer, self.scores(layer, read))
        for project, beside in taps.beside:
            x, v = self.attention_input(read("resid_pre")[layer], layer), self.at("v", layer, read)
            q, k = (self._rotated(heads(x, layer)) for heads in project)
            z = beside.attention(layer, q, k, v, self.scoring)
            if beside.wants("z"):
                beside("z", layer, mixed(masked_scores(q, k, *self.scoring).softmax(dim=-1), v) if z is None else z)


def mixed(
    pattern: Float[Tensor, "batch head query key"], v: Float[Tensor, "batch kv_head key d_head"]
) -> Float[Tensor, "batch head query d_head"]:
    """z of a pattern and v, shared by groups of heads."""
    return pattern @ v.repeat_interleave(pattern.shape[1] // v.shape[1], dim=1)
