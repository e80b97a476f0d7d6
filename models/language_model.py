"""LanguageModel: a subject that reads tokens."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..data.errors import TaskError, UsageError
from .key_values import KeyValuePlaces
from .mlp_reading import MlpReading
from .norms import Norm
from .subject import Edit, NotApplicable, Reduce, Site, Source, Subject, Trace
from .taps import AllSeen, Halfway, OtherAttention, Taps
from .tokenizing import ids_of
from .weights import AttentionOutput, AttentionWeights

Positions = Literal["learned", "sinusoidal", "rotary", "alibi", "none", "other"]


@dataclass(frozen=True)
class LanguageModelShape:
    """Sizes that probes need.

    n_kv_heads:  key-value heads; fewer than n_heads where query heads share them
    n_ctx:       the longest context; None: no limit
    causal:      causal attention; False: bidirectional
    positions:   how positions enter the model
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

    tokenizer:  a tokenizer of transformers or tokenizers; None: the model reads token ids only
    """

    attention_implementation: ClassVar[str] = (
        "torch scaled_dot_product_attention; softmax in float32 at least where scores are capped or patterns watched"
    )
    shape: LanguageModelShape
    tokenizer: Any | None = None

    @property
    def not_shown(self) -> Mapping[Site, str]:
        """Sites that this model does not show, each with the reason. To watch them yields nothing; to edit them is
        refused.
        """
        return {}

    @property
    def bos(self) -> int | None:
        """The token that begins a sequence, as recorded in `source.facts`; None: no token."""
        return self.source.facts.get("bos")

    @property
    @abstractmethod
    def final_norm(self) -> Norm:
        """The norm between the last block and the unembedding; of kind "none" if the model has none."""

    @abstractmethod
    def embedding(self) -> Float[Tensor, "d_vocab d_embed"]:
        """Each token's embedding before positions are added. Gemma's factor is included; BERT's layer norm of the
        embeddings is not. They are as wide as the residual stream, except where the model projects them to it (ALBERT).
        """

    def no_embedded_states(self) -> NotApplicable | None:
        """Why embeddings are not what enters the first block, positions apart (ALBERT); None where they are."""
        return None

    def no_edits(self) -> NotApplicable | None:
        """Why no activation can be replaced; None where those that are shown can."""
        return None

    @abstractmethod
    def unembedding(self) -> Float[Tensor, "d_model d_vocab"] | NotApplicable:
        """The matrix that `unembed` multiplies a state by, before any bias and any cap on the logits; or the reason why
        there is none.
        """

    @abstractmethod
    def weights(self, folded: bool = False) -> AttentionWeights | NotApplicable:
        """Attention weights, as stored or with the layer norm before attention folded in."""

    def key_value_places(self) -> KeyValuePlaces | NotApplicable:
        """Where W_K and W_V stand in the parameters of `module`, or why they cannot be replaced there."""
        return NotApplicable(f"mesascope does not know where a {type(self).__name__} keeps W_K and W_V")

    def mlp_reading(self) -> MlpReading | NotApplicable:
        """What the MLPs read of the stream between attention and MLP, and by which parameters of `module`."""
        return NotApplicable(f"mesascope does not know by which matrices the MLPs of a {type(self).__name__} read")

    def attention_output(self, layer: int) -> AttentionOutput | NotApplicable:
        """The output weights of one layer's attention, views of the model's own where it has them."""
        weights = self.weights()
        if isinstance(weights, NotApplicable):
            return weights
        return AttentionOutput(weights.W_O[layer], None if weights.b_O is None else weights.b_O[layer])

    def untrained(self, seed: int) -> LanguageModel | NotApplicable:
        """An untrained model of the same architecture, in the same dtype and on the same device.

        mesascope's own models are initialised with the recorded recipe's scale, Hugging Face models by transformers.
        The caller's random generator does not change.
        """
        return NotApplicable(f"mesascope does not know how to initialise a {type(self).__name__}")

    def untrained_models(self) -> Callable[[int], LanguageModel | NotApplicable]:
        """Makes `untrained` models by their seeds, one at a time: each may lie where the one before it lay, which is
        then of no use.
        """
        return self.untrained

    def _untrained_source(self) -> Source:
        """A source without a checkpoint, with the facts that reading tokens needs."""
        return Source(f"untrained {self.source.name}", layout="untrained", facts=self.source.facts)

    @torch.no_grad()
    def run(
        self,
        tokens: Int[Tensor, "batch pos"],
        watch: Mapping[Site, Reduce] | None = None,
        edit: Mapping[Site, Edit] | None = None,
        logits: bool = False,
        others: Sequence[OtherAttention] = (),
        begun: Halfway | None = None,
    ) -> Trace:
        """One forward pass without gradients. A watched activation is reduced at once and dropped. An edit replaces an
        activation before it is watched. `others` are computed beside it.

        begun:  where these tokens were left by `halfway`: the layers below are neither run nor watched nor edited

        Shapes: embed (the tokens' embeddings, before positions), resid_pre, attn_out, resid_mid, mlp_out, resid_post,
        final, final_norm [batch pos d_model]; q, z [batch head pos d_head]; k, v [batch kv_head pos d_head]; pattern
        [batch head pos pos]; attention: an `AttentionScores`, which cannot be edited. Sites that the architecture lacks
        (mlp_out without MLPs) and those of `not_shown` are never passed on. The output is the state after the final
        norm, or the logits.
        """
        self.check(tokens)
        if logits:
            self._require_head()
        taps = Taps(watch, edit, not_shown=self.not_shown, others=others)
        state = self._states(tokens.to(self.device), taps, begun)
        return Trace(self.unembed(state) if logits else state, taps.values)

    @torch.no_grad()
    def halfway(self, tokens: Int[Tensor, "batch pos"], layer: int, begun: Halfway | None = None) -> Halfway:
        """A pass over the layers below `layer`, from its beginning or from where it was left."""
        first = 0 if begun is None else begun.layer
        if not first <= layer < self.shape.n_layers:
            raise UsageError(f"layer = {layer}; expected {first} to {self.shape.n_layers - 1}")
        self.check(tokens)
        if layer == first:
            return begun or Halfway(0, None)
        return Halfway(layer, self._handed_to(layer, tokens.to(self.device), begun))

    @torch.no_grad()
    def observe(
        self,
        tokens: Int[Tensor, "batch pos"],
        watch: Mapping[Site, Reduce],
        edit: Mapping[Site, Edit] | None = None,
    ) -> Mapping[Site, list[Any]]:
        """The watched values of `run`, without an output. The pass ends once every watched site is complete."""
        self.check(tokens)
        taps = Taps(watch, edit, self.shape.n_layers, self.not_shown)
        with suppress(AllSeen):
            self._states(tokens.to(self.device), taps)
        return taps.values

    def no_gradients(self) -> NotApplicable | None:
        """Why states are no differentiable function of the tokens' embeddings; None where `states_of` gives them."""
        return self.no_edits() or self.no_embedded_states()

    @torch.enable_grad()
    def states_of(
        self, tokens: Int[Tensor, "batch pos"], embeddings: Float[Tensor, "batch pos d_model"]
    ) -> Float[Tensor, "batch pos d_model"]:
        """The states after the final norm that the tokens would have with these embeddings (the site `embed`) in place
        of their own; differentiable with respect to the embeddings, by `unembed` up to the logits.

        UsageError where `no_gradients` says why not.
        """
        if (refused := self.no_gradients()) is not None:
            raise UsageError(f"{self.source.name}: embeddings cannot be replaced: {refused.reason}")
        self.check(tokens)
        taps = Taps(None, {"embed": lambda own, layer: embeddings}, not_shown=self.not_shown)
        return self._states(tokens.to(self.device), taps)

    @abstractmethod
    def _states(
        self, tokens: Int[Tensor, "batch pos"], taps: Taps, begun: Halfway | None = None
    ) -> Float[Tensor, "batch pos d_model"]:
        """States after the final norm; `taps` is called at every site on the way."""

    @abstractmethod
    def _handed_to(self, layer: int, tokens: Int[Tensor, "batch pos"], begun: Halfway | None) -> Any:
        """What `Halfway` calls the answer of the layer below."""

    def _require_head(self) -> None:
        """Raise UsageError if the model has no logits."""

    def no_token_logits(self) -> NotApplicable | None:
        """Why there are no logits of the model's own tokens; None where there are."""
        try:
            self._require_head()
        except UsageError as error:
            return NotApplicable(str(error))
        return None

    @abstractmethod
    def attention_input(
        self, resid_pre: Float[Tensor, "batch pos d_model"], layer: int, folded: bool = False
    ) -> Float[Tensor, "batch pos d_model"]:
        """The input of a layer's projections: q = attention_input(resid_pre) @ W_Q + b_Q, for weights folded or not;
        differentiable.
        """

    def normed(self, state: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        """The final norm of a state by the model's own code, which `final_norm` says as a formula; differentiable."""
        return self.final_norm(state)

    @abstractmethod
    def unembed(self, state: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_vocab"]:
        """Logits of states after the final norm, bias and cap included; differentiable."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens added.

        Raises TaskError if the model has no tokenizer, and for text that gives no tokens.
        """
        if self.tokenizer is None:
            raise TaskError(f"{self.source.name}: came without a tokenizer, so it cannot read text; give token ids")
        if not (ids := ids_of(self.tokenizer, text)):
            raise TaskError(f"{text!r:.60}: the tokenizer of {self.source.name} gives no token; expected at least 1")
        return ids

    def logits(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_vocab"]:
        return self.run(tokens, logits=True).output

    def check(self, tokens: Int[Tensor, "batch pos"]) -> None:
        """Raise TaskError for tokens that this model cannot read."""
        longest, size = self.shape.n_ctx, self.shape.d_vocab
        if tokens.shape[1] < 1 or tokens.shape[0] < 1:
            raise TaskError(f"tokens have shape {list(tokens.shape)}; expected at least one sequence of one token")
        if longest is not None and tokens.shape[1] > longest:
            raise TaskError(
                f"sequences of {tokens.shape[1]} tokens; {self.source.name} reads at most {longest}; give shorter ones"
            )
        for token in (int(tokens.min()), int(tokens.max())):
            if not 0 <= token < size:
                raise TaskError(
                    f"token {token} is not in the vocabulary of {self.source.name}; expected 0 to {size - 1}"
                )
