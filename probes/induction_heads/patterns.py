"""The attention pattern of a few heads, weighted by the length of what each key sends (Kobayashi et al. 2020, arXiv
2004.10102).

Head h writes sum_j A[i, j] f(x_j) at token i, where f(x) = v W_O and v = x W_V + b_V. Much attention to a token whose
f(x) is short moves little: ‖A[i, j] f(x_j)‖ = A[i, j] ‖f(x_j)‖ says how much, in the units of the residual stream.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from einops import einsum
from jaxtyping import Float, Float64, Int
from torch import Tensor

from ...data.errors import TaskError
from ...models.language_model import LanguageModel
from ...models.subject import AttentionScores, NotApplicable, Reduce, Site
from ..findings import Head
from ..streaming import Watcher
from .access import NORMALISED


def value_norms(
    v: Float[Tensor, "batch kv_head pos d_head"], W_O: Float[Tensor, "head _ d_model"]
) -> Float64[Tensor, "batch head pos"]:
    """‖f(x)‖ of every token and head. Query head h uses kv head h // (heads / kv heads).

    TaskError for heads that do not share the kv heads evenly, and for values of another width than W_O reads.
    """
    if v.shape[-1] != W_O.shape[1] or len(W_O) % v.shape[1]:
        raise TaskError(
            f"values have {v.shape[1]} heads of {v.shape[-1]} numbers, W_O has {len(W_O)} of {W_O.shape[1]}; expected"
            " as many numbers, and one or several heads of W_O for each head of the values"
        )
    shared = v.double().repeat_interleave(len(W_O) // v.shape[1], dim=1)
    return einsum(shared, W_O.double(), "batch head pos d, head d model -> batch head pos model").norm(dim=-1)


def value_weighted_pattern(
    pattern: Float[Tensor, "_ _ _ _"], v: Float[Tensor, "_ _ _ _"], W_O: Float[Tensor, "_ _ _"]
) -> Float64[Tensor, "batch head query key"]:
    """A[i, j] ‖f(x_j)‖ of patterns [batch, head, query, key], values [batch, kv head, key, d_head] and W_O [head,
    d_head, d_model]. TaskError where these do not belong together.
    """
    norms = value_norms(v, W_O)
    if (pattern.shape[0], pattern.shape[1], pattern.shape[3]) != norms.shape:
        raise TaskError(
            f"patterns {list(pattern.shape)}: expected [{norms.shape[0]}, {norms.shape[1]}, queries, {norms.shape[2]}],"
            f" for values {list(v.shape)} and W_O {list(W_O.shape)}"
        )
    return pattern.double() * norms[:, :, None]


def not_weighted(subject: LanguageModel) -> str:
    """Why the length of what heads send is not known; "" where it is."""
    if reason := subject.not_shown.get("v"):
        return reason
    output = subject.attention_output(0)
    if isinstance(output, NotApplicable):
        return output.reason
    # a norm divides by the length of all that is written at a query: no key has a length of its own
    return NORMALISED if output.own_norm is not None else ""


class Patterns(Watcher):
    """Keeps the patterns of some heads on the first sequence, and the lengths of what their keys send."""

    def __init__(self, subject: LanguageModel, heads: Sequence[Head]) -> None:
        self._subject, self._heads = subject, list(heads)
        self._weighted = not not_weighted(subject)
        self._patterns: dict[Head, np.ndarray] = {}
        self._norms: dict[Head, np.ndarray] = {}

    def watch(self, tokens: Int[Tensor, "batch pos"]) -> dict[Site, Reduce]:
        return {"attention": self._attention, "v": self._values} if self._weighted else {"attention": self._attention}

    def _attention(self, scores: AttentionScores, layer: int) -> None:
        if heads := self._of(layer):
            pattern = scores.pattern()[0].float().cpu().numpy()
            self._patterns |= {head: pattern[head[1]] for head in heads}

    def _values(self, v: Float[Tensor, "batch kv_head pos d_head"], layer: int) -> None:
        if heads := self._of(layer):
            output = self._subject.attention_output(layer)
            assert not isinstance(output, NotApplicable)  # asked at the beginning
            norms = value_norms(v[:1], output.W_O)[0].float().cpu().numpy()
            self._norms |= {head: norms[head[1]] for head in heads}

    def _of(self, layer: int) -> list[Head]:
        return [head for head in self._heads if head[0] == layer]

    @property
    def pattern(self) -> Float[np.ndarray, "head query key"]:
        return np.stack([self._patterns[head] for head in self._heads])

    @property
    def value_norms(self) -> Float[np.ndarray, "head key"] | None:
        return np.stack([self._norms[head] for head in self._heads]) if self._weighted else None
