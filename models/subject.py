"""Subject: a trained transformer to examine, and where its weights came from."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Never

import torch
from jaxtyping import Float
from torch import Tensor

from ..data.errors import TaskError
from .attention import Scoring, blocks_of, hidden, in_float32, log_normaliser, masked_scores, soft_capped, with_sinks
from .token_layout import TokenLayout
from .weights import AttentionWeights

Site = Literal[
    "embed",
    "resid_pre",
    "q",
    "k",
    "v",
    "attention",
    "pattern",
    "z",
    "attn_out",
    "resid_mid",
    "mlp_out",
    "resid_post",
    "final",
    "final_norm",
]
"""Sites of a forward pass that can be watched, in the order of the pass.

q, k and v are the projections; `attention` gives an `AttentionScores`; `final` and `final_norm` are the state before
and after the norm that precedes the unembedding. Sites that exist once (embed, final, final_norm) have layer 0.
"""
Reduce = Callable[[Any, int], Any]
"""(activation, layer) -> the numbers to keep. The activation itself is dropped."""
Edit = Callable[[Tensor, int], Tensor]
"""(activation, layer) -> the activation that replaces it, of the same shape."""
IN_MEMORY = "the model is in memory only: to verify its report, pass it again, analyses.verify(FOLDER, subject=MODEL)"
"""The note of every subject that no file can open again."""


@dataclass(frozen=True)
class Source:
    """Where a subject's weights came from, and how they were read.

    name:            a shipped name, a file name, a hub id, or the caller's name of an in-memory model
    revision:        "seed3-step5000" in a family of checkpoints; for a hub id the revision that was given; else None
    path:            the path as given; None for shipped names, hub ids and in-memory models
    weights_sha256:  digest of the tensors alone (names, dtypes, shapes, bytes): the same weights in another container
                     have the same digest. None if the weights are not readable
    layout:          how names in the file were mapped to roles
    commit:          the commit in the hub cache that the revision of a hub id resolved to
    facts:           facts that the weights do not show (number of tied layers, clip, …), as used
    options:         what opens the file again, besides the layout's name: model_args, and a layout's declaration
    record:          the training record, if the file has one
    notes:           what mesascope could not check, in words
    opening_check:   what mesascope compared when it opened the model, with errors: `OpeningCheck.as_dict`; None:
                     nothing is compared for models of this kind
    """

    name: str
    layout: str
    revision: str | None = None
    path: str | None = None
    weights_sha256: str | None = None
    seed: int | None = None
    step: int | None = None
    commit: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    opening_check: Mapping[str, Any] | None = None

    @property
    def label(self) -> str:
        """The name with its revision, for titles and folders."""
        return f"{self.name}-{self.revision}" if self.revision else self.name


@dataclass(frozen=True)
class NotApplicable:
    """The reason why a measurement or a matrix does not exist for a subject. It is a result, not an error.

    Whoever takes it for a report or for weights and asks it for theirs gets an AttributeError that says the reason.
    """

    reason: str

    def __getattr__(self, name: str) -> Never:
        reason = vars(self).get("reason")
        if name.startswith("__") or reason is None:  # asked by copy, pickle and the like
            raise AttributeError(name)
        raise AttributeError(f"there is no {name!r}: not applicable, because {reason}")


@dataclass(frozen=True)
class AttentionScores:
    """One layer's attention scores as q and k, without the pattern, whose size is the context length squared.

        score[i, j] = scale * q[i] . k[j]          query head h with key-value head h // (heads / kv heads)
        score[i, j] <- score[i, j] - slopes[h] (i - j)                            if slopes are set (ALiBi)
        score <- soft_cap * tanh(score / soft_cap)                                if soft_cap is set
        pattern[i, j] = exp(score[i, j] - log_normaliser[i])                      over the keys that i attends to

    causal:  i attends to j <= i
    window:  i attends to |i - j| < window

    Where heads have a learned sink, a logit without a key (GPT-OSS), the log-normaliser contains it, and the rows of
    the pattern sum to less than 1.
    """

    q: Float[Tensor, "batch head pos d_head"]
    k: Float[Tensor, "batch kv_head pos d_head"]
    scale: float
    log_normaliser: Float[Tensor, "batch head pos"]
    causal: bool = True
    soft_cap: float | None = None
    window: int | None = None
    slopes: Float[Tensor, "head"] | None = None

    @classmethod
    def of(
        cls,
        q: Float[Tensor, "batch head pos d_head"],
        k: Float[Tensor, "batch kv_head pos d_head"],
        scale: float | None = None,
        causal: bool = True,
        soft_cap: float | None = None,
        window: int | None = None,
        slopes: Float[Tensor, "head"] | None = None,
        normaliser: Float[Tensor, "batch head pos"] | None = None,
        sinks: Float[Tensor, "head"] | None = None,
    ) -> AttentionScores:
        """From q and k after rotary positions. The normaliser is computed unless it is given.

        scale:       1 / sqrt(d_head) by default
        normaliser:  without the sinks
        sinks:       each head's learned logit in the softmax's denominator
        """
        scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
        if normaliser is None:
            normaliser = log_normaliser(q, k, scale, causal, soft_cap, window, slopes)
        normaliser = with_sinks(normaliser, sinks)
        return cls(q, k, scale, normaliser, causal, soft_cap, window, slopes)

    def scores(self) -> Float[Tensor, "batch head pos pos"]:
        """The softmax's input; -inf where a query does not attend to a key."""
        return masked_scores(in_float32(self.q), in_float32(self.k), *self._scoring)

    def scores_at(self, queries: Sequence[int]) -> Float[Tensor, "batch head query pos"]:
        """The softmax's input of some queries alone."""
        q, k = in_float32(self.q), in_float32(self.k)
        rows = [masked_scores(q[:, :, query : query + 1], k, *self._scoring, first=query) for query in queries]
        return torch.cat(rows, dim=2)

    @property
    def _scoring(self) -> Scoring:
        return Scoring(self.scale, self.causal, self.soft_cap, self.window, self.slopes)

    def pattern(self) -> Float[Tensor, "batch head pos pos"]:
        """The whole attention pattern. Its size is the context length squared."""
        return (self.scores() - self.log_normaliser[..., None]).exp()

    def blocks(self) -> Iterator[tuple[int, Float[Tensor, "batch head query key"]]]:
        """The pattern by blocks of queries, each with its first query; keys that the mask hides from all are left"
        " out."""
        batch, heads, n, _ = self.q.shape
        k = in_float32(self.k)
        for first, last, keys in blocks_of(n, self.causal, row=batch * heads * n):
            q = in_float32(self.q[:, :, first:last])
            scores = masked_scores(q, k[:, :, :keys], *self._scoring, first)
            yield first, scores.sub_(self.log_normaliser[:, :, first:last, None]).exp_()

    def at_offset(self, offset: int) -> Float[Tensor, "batch head query"]:
        """pattern[i, i - offset] for the queries i = offset, …, computed from those pairs of q and k alone.

        Shared key-value heads are not copied. Outside a window the attention is 0.
        """
        n = self.q.shape[2]
        if not 0 <= offset < n:
            raise TaskError(f"offset = {offset}; expected 0 to {n - 1} for {n} tokens")
        normaliser = self.log_normaliser[:, :, offset:]
        if self.window is not None and offset >= self.window:
            return torch.zeros_like(normaliser)
        back = torch.tensor(offset, device=self.q.device)
        return self._attention(self.q[:, :, offset:], self.k[:, :, None, : n - offset], back, normaliser)

    def to_key(self, key: int) -> Float[Tensor, "batch head pos"]:
        """pattern[i, key] for every query i; 0 where it does not attend to the key."""
        n = self.q.shape[2]
        if not 0 <= key < n:
            raise TaskError(f"key = {key}; expected 0 to {n - 1} for {n} tokens")
        back = torch.arange(n, device=self.q.device) - key
        attention = self._attention(self.q, self.k[:, :, None, key : key + 1], back, self.log_normaliser)
        return attention.masked_fill(hidden(back, self.causal, self.window), 0)

    def _attention(self, q: Tensor, k: Tensor, back: Tensor, normaliser: Tensor) -> Tensor:
        """Of queries [batch head query d_head] to one key each, [batch kv_head 1 query or 1 d_head], so far back."""
        grouped = in_float32(q).unflatten(1, (k.shape[1], -1))
        scores = self.scale * torch.linalg.vecdot(grouped, in_float32(k)).flatten(1, 2)
        if self.slopes is not None:
            scores = scores - self.slopes.to(scores)[:, None] * back
        return (soft_capped(scores, self.soft_cap) - normaliser).exp()


@dataclass(frozen=True)
class Trace:
    """The result of a watched forward pass: the output, and for each watched site one reduced value per layer."""

    output: Tensor
    values: Mapping[Site, list[Any]]


class Subject(ABC):
    """A trained transformer, and where its weights came from.

    packages:  packages besides mesascope and torch whose versions can change its numbers
    """

    source: Source
    packages: tuple[str, ...] = ()

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype: ...

    @property
    @abstractmethod
    def device(self) -> torch.device: ...

    @abstractmethod
    def weights(self) -> AttentionWeights | NotApplicable:
        """QKV and output weights, or the reason why there are none."""


class Regressor(Subject):
    """A subject for in-context regression tasks, `[task, token, feature] -> prediction`.

    d_in, d_out:  widths of x and y; a token is [x ; y]; the query comes last, with y slot 0
    layout:       where x and y stand in the tokens that the model itself reads
    """

    d_in: int
    d_out: int
    layout: TokenLayout

    @abstractmethod
    def layouts(self) -> tuple[TokenLayout, ...]:
        """Every layout that the model could be made for. The first is assumed unless another is declared or found."""

    @abstractmethod
    def read_as(self, layout: TokenLayout) -> Regressor:
        """The same model, given tasks in another layout. ValueError for one that it cannot read."""

    @abstractmethod
    def predict(self, inputs: Float[Tensor, "task token feature"]) -> Float[Tensor, "task d_out"]:
        """The query's predicted label, differentiable with respect to `inputs`."""
