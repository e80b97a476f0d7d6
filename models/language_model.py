"""LanguageModel: a subject that reads tokens, whatever its weights were made with."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..data.errors import TaskError
from .norms import Norm
from .subject import Edit, NotApplicable, Reduce, Site, Subject, Trace
from .taps import AllSeen, Taps
from .tokenizing import ids_of
from .weights import AttentionWeights

Positions = Literal["learned", "sinusoidal", "rotary", "none", "other"]


@dataclass(frozen=True)
class LanguageModelShape:
    """Sizes that probes ask for.

    n_kv_heads:  key-value heads; fewer than n_heads where query heads share them
    n_ctx:       the longest context, None where nothing limits it
    causal:      a token sees itself and those before it; otherwise all
    positions:   how positions enter
    """

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_vocab: int
    n_ctx: int | None
    causal: bool
    positions: Positions


class LanguageModel(Subject):
    """A transformer from token ids to next-token logits (or, when bidirectional, to logits of masked tokens).

    tokenizer:  of transformers' kind or of tokenizers'; None where only token ids can go in
    """

    attention_implementation: ClassVar[str] = (
        "torch scaled_dot_product_attention; softmax in float32 at least where scores are capped or patterns watched"
    )
    shape: LanguageModelShape
    tokenizer: Any | None = None

    @property
    def bos(self) -> int | None:
        """The token that begins a sequence, as recorded in `source.facts`; None where there is none."""
        return self.source.facts.get("bos")

    @property
    @abstractmethod
    def final_norm(self) -> Norm:
        """The norm between the last block and the unembedding; of kind "none" where nothing stands there."""

    @abstractmethod
    def embedding(self) -> Float[Tensor, "d_vocab d_model"]:
        """Each token's row as it enters the stream, before positions: Gemma's factor is in it, BERT's norm of the sum
        with the positions is not.
        """

    @abstractmethod
    def unembedding(self) -> Float[Tensor, "d_model d_vocab"] | NotApplicable:
        """What `unembed` multiplies a state by, before any bias and any cap on the logits; or why there is no such
        matrix.
        """

    @abstractmethod
    def weights(self, folded: bool = False) -> AttentionWeights | NotApplicable:
        """Attention weights as they are, or with the layer norm before them folded in."""

    @torch.no_grad()
    def run(
        self,
        tokens: Int[Tensor, "batch pos"],
        watch: Mapping[Site, Reduce] | None = None,
        edit: Mapping[Site, Edit] | None = None,
        logits: bool = False,
    ) -> Trace:
        """One forward pass, without gradients; each watched activation is reduced at once and dropped, each edited one
        replaced before anybody sees it.

        Shapes: embed (the tokens' embeddings, before positions), resid_pre, attn_out, resid_mid, mlp_out, resid_post,
        final, final_norm [batch pos d_model]; q, z [batch head pos d_head]; k, v [batch kv_head pos d_head]; pattern
        [batch head pos pos]; attention: an `AttentionScores`, which cannot be edited. A site that the architecture
        lacks (mlp_out without MLPs) is never handed over. The output is the state after the final norm, or the logits.
        """
        self.check(tokens)
        if logits:
            self._require_head()
        taps = Taps(watch, edit)
        state = self._states(tokens.to(self.device), taps)
        return Trace(self.unembed(state) if logits else state, taps.values)

    @torch.no_grad()
    def observe(
        self,
        tokens: Int[Tensor, "batch pos"],
        watch: Mapping[Site, Reduce],
        edit: Mapping[Site, Edit] | None = None,
    ) -> Mapping[Site, list[Any]]:
        """What `run` keeps of what is watched, and no output: the pass ends once the last layer has shown all of it."""
        self.check(tokens)
        taps = Taps(watch, edit, self.shape.n_layers)
        with suppress(AllSeen):
            self._states(tokens.to(self.device), taps)
        return taps.values

    @abstractmethod
    def _states(self, tokens: Int[Tensor, "batch pos"], taps: Taps) -> Float[Tensor, "batch pos d_model"]:
        """States after the final norm; `taps` is called at every site on the way."""

    def _require_head(self) -> None:
        """Refuse, in words, when there is nothing that makes logits."""

    @abstractmethod
    def attention_input(
        self, resid_pre: Float[Tensor, "batch pos d_model"], layer: int, folded: bool = False
    ) -> Float[Tensor, "batch pos d_model"]:
        """What a layer's projections read: q = attention_input(resid_pre) @ W_Q + b_Q, with weights folded or not;
        differentiable.
        """

    @abstractmethod
    def unembed(self, state: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_vocab"]:
        """Logits of states after the final norm, bias and cap included; differentiable."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, with no token put before or after it.

        TaskError where the model came without a tokenizer, and for text that gives no token.
        """
        if self.tokenizer is None:
            raise TaskError(f"{self.source.name}: came without a tokenizer, so text cannot go in; give token ids")
        if not (ids := ids_of(self.tokenizer, text)):
            raise TaskError(f"{text!r:.60}: {self.source.name}'s tokenizer gives no token for it")
        return ids

    def logits(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_vocab"]:
        return self.run(tokens, logits=True).output

    def check(self, tokens: Int[Tensor, "batch pos"]) -> None:
        """Refuse, in words, tokens that this model cannot read."""
        longest, size = self.shape.n_ctx, self.shape.d_vocab
        if tokens.shape[1] < 1 or tokens.shape[0] < 1:
            raise TaskError(f"tokens shaped {list(tokens.shape)}: expected at least one sequence of one token")
        if longest is not None and tokens.shape[1] > longest:
            raise TaskError(f"sequences of {tokens.shape[1]} tokens: {self.source.name} reads at most {longest}")
        for token in (int(tokens.min()), int(tokens.max())):
            if not 0 <= token < size:
                raise TaskError(f"token {token}: the vocabulary of {self.source.name} is 0 to {size - 1}")
