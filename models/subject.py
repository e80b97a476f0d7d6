"""Subject: a trained transformer under examination, and where its weights came from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from .attention import masked_scores
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
"""Where a forward pass can be watched, in the order in which it gets there.

q, k and v are the projections; `attention` hands over an `AttentionScores`; `final` and `final_norm` are the state
before and after the norm that precedes the unembedding. Those without a layer of their own (embed, final, final_norm)
come as layer 0.
"""
Reduce = Callable[[Any, int], Any]
"""What is kept of a watched activation: (activation, layer) -> a few numbers. The activation itself is dropped."""
Edit = Callable[[Tensor, int], Tensor]
"""What an activation is replaced by: (activation, layer) -> activation of the same shape."""


@dataclass(frozen=True)
class Source:
    """Where a subject's weights came from, and how they were read.

    name:            what was asked for: a shipped name, a file name, or what the caller calls an in-memory model
    revision:        "seed3-step5000" in a family of checkpoints, else None
    path:            the file as it was given, None for shipped names and in-memory models
    weights_sha256:  digest of the tensors alone (names, dtypes, shapes, bytes): the same weights in another container
                     have the same digest. None when a predictor hides its weights
    layout:          how names in the file were mapped to roles
    facts:           what the weights do not say (number of tied layers, clip, …), as used
    record:          the training recipe's record, where the file carries one
    notes:           what could not be checked, in words
    """

    name: str
    layout: str
    revision: str | None = None
    path: str | None = None
    weights_sha256: str | None = None
    seed: int | None = None
    step: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """One word for titles and folders: the name with its revision."""
        return f"{self.name}-{self.revision}" if self.revision else self.name


@dataclass(frozen=True)
class NotApplicable:
    """Why something does not exist for a subject: a first-class answer, not an error."""

    reason: str


@dataclass(frozen=True)
class AttentionScores:
    """One layer's attention as it is scored, without the pattern, whose size is that of the context squared.

        score[i, j] = scale * q[i] . k[j]          query head h with key-value head h // (heads / kv heads)
        score <- soft_cap * tanh(score / soft_cap)                                where there is a cap
        pattern[i, j] = exp(score[i, j] - log_normaliser[i])                      over the keys that i sees

    causal:  i sees j <= i
    window:  i sees |i - j| < window
    """

    q: Float[Tensor, "batch head pos d_head"]
    k: Float[Tensor, "batch kv_head pos d_head"]
    scale: float
    log_normaliser: Float[Tensor, "batch head pos"]
    causal: bool = True
    soft_cap: float | None = None
    window: int | None = None

    def scores(self) -> Float[Tensor, "batch head pos pos"]:
        """What the softmax is taken of, -inf where a query does not see a key."""
        return masked_scores(self.q, self.k, self.scale, self.causal, self.soft_cap, self.window)

    def pattern(self) -> Float[Tensor, "batch head pos pos"]:
        """The whole pattern, for contexts short enough."""
        return (self.scores() - self.log_normaliser[..., None]).exp()


@dataclass(frozen=True)
class Trace:
    """What a watched forward pass leaves: the output, and for each watched site one reduced value a layer."""

    output: Tensor
    values: Mapping[Site, list[Any]]


class Subject(ABC):
    """A trained transformer, and where its weights came from."""

    source: Source

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype: ...

    @property
    @abstractmethod
    def device(self) -> torch.device: ...

    @abstractmethod
    def weights(self) -> AttentionWeights | NotApplicable:
        """QKV and output weights, or why there are none to show."""


class Regressor(Subject):
    """A subject that answers in-context regression tasks `[task, token, feature] -> prediction`.

    d_in, d_out:  widths of x and y; a token is [x ; y], the query comes last with y slot 0
    """

    d_in: int
    d_out: int

    @abstractmethod
    def predict(self, inputs: Float[Tensor, "task token feature"]) -> Float[Tensor, "task d_out"]:
        """The query's predicted label, differentiable with respect to `inputs`."""
