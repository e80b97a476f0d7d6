"""What a model lets the probe read: its weights, its unembedding, its logits; or why not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from ...models.language_model import LanguageModel
from ...models.subject import NotApplicable
from ...models.weights import AttentionWeights

NORMALISED = "this model normalises the output of attention before it enters the residual stream"
_SAME = 0.02  # of the largest number: bfloat16 keeps two digits


@dataclass(frozen=True)
class Access:
    """What can be read of a model, or why it cannot.

    direct_path:  W_O and W_U, where a head's direct effect on the logits is a product with both
    no_logits:    why there are no logits of tokens; None where there are
    """

    weights: AttentionWeights | NotApplicable
    W_U: Float[Tensor, "d_model d_vocab"] | NotApplicable
    direct_path: tuple[Tensor, Tensor] | NotApplicable
    no_logits: NotApplicable | None

    @classmethod
    def to(cls, subject: LanguageModel) -> Access:
        weights, W_U = subject.weights(), subject.unembedding()
        return cls(weights, W_U, _direct_path(subject, weights, W_U), subject.no_token_logits())


def _direct_path(
    subject: LanguageModel, weights: AttentionWeights | NotApplicable, W_U: Tensor | NotApplicable
) -> tuple[Tensor, Tensor] | NotApplicable:
    for needed in (weights, subject.weights(folded=True), W_U):  # no norm to fold: norms come after every block
        if isinstance(needed, NotApplicable):
            return needed
    assert isinstance(weights, AttentionWeights)
    assert isinstance(W_U, Tensor)
    return _normalised_writes(subject, weights) or (weights.W_O, W_U)


def _normalised_writes(subject: LanguageModel, weights: AttentionWeights) -> NotApplicable | None:
    """Why attention adds something else to the residual stream than the sum of z W_O: Gemma 2 normalises it first."""
    if reason := subject.not_shown.get("attn_out"):
        return NotApplicable(reason)
    tokens = torch.arange(min(3, subject.shape.d_vocab))[None]
    trace = subject.run(tokens, {"z": lambda z, _: z, "attn_out": lambda out, _: out})
    for layer, (z, out) in enumerate(zip(trace.values["z"], trace.values["attn_out"], strict=True)):
        written = einsum(z, weights.W_O[layer], "batch head pos d_head, head d_head d_model -> batch pos d_model")
        if weights.b_O is not None:
            written = written + weights.b_O[layer]
        if not (written - out).abs().max() <= _SAME * out.abs().max():
            return NotApplicable(NORMALISED)
    return None
