"""What heads do by their weights alone, as measures: copying, and weights prepared for it and for composition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from ...data.batch import generator
from ...models.language_model import LanguageModel
from ...models.subject import NotApplicable
from ...models.weights import AttentionWeights
from ..measure import Measure, missing
from .nulls import permuted
from .passes import Abilities
from .score_measures import HEADS
from .weights import (
    folded_output,
    ov_copying_score,
    ov_top1_share,
    vocabulary_product,
)

PERMUTED_OV = "W_V and W_O permuted"
_SAMPLE = 256  # tokens whose own logit is looked at, where the vocabulary is larger than _WHOLE
_WHOLE = 1024
_DRAWS = 20
_NO_INTERVAL = "a function of the weights: there is nothing to resample"


@dataclass(frozen=True)
class Folded:
    """Attention weights as they read and write plain states: norms folded in, means taken out where norms do so.

    width:  dimensions that a state has: d_model, or one less without its mean
    words:  what is left out, for the measures' messages
    """

    weights: AttentionWeights
    width: int
    words: str = ""

    @classmethod
    def of(cls, subject: LanguageModel, able: Abilities) -> Folded | NotApplicable:
        if isinstance(able.weights, NotApplicable):
            return able.weights
        folded, d_model = subject.weights(folded=True), subject.shape.d_model
        if isinstance(folded, NotApplicable):
            return cls(able.weights, d_model, f"no norm is folded in: {folded.reason}")
        words = ""
        if isinstance(able.directions, NotApplicable) and not isinstance(able.W_U, NotApplicable):
            words = f"{able.directions.reason}: that norm is left out"
        return cls(_centred(folded), d_model - 1, words) if _centres(subject) else cls(folded, d_model, words)

    def layers(self) -> Iterator[tuple[Float[Tensor, "head d_model d_head"], Float[Tensor, "head d_head d_model"]]]:
        """W_V, one a query head, and W_O, layer by layer."""
        return zip(self.weights.expanded().W_V, self.weights.W_O, strict=True)


@torch.no_grad()
def _centres(subject: LanguageModel) -> bool:
    """Whether the norm before attention takes the mean out of a state."""
    state = torch.linspace(-1, 1, subject.shape.d_model, device=subject.device, dtype=subject.dtype)[None, None]
    read = [subject.attention_input(state + shift, 0, folded=True) for shift in (0.0, 1.0)]
    return bool((read[0] - read[1]).abs().max() <= 0.01 * read[0].abs().max())


def _centred(weights: AttentionWeights) -> AttentionWeights:
    """The same weights for states whose mean is taken out before they are read: what reads or writes it is left out."""
    sides = {f"W_{role}": getattr(weights, f"W_{role}") for role in "QKVO"}
    return replace(weights, **{n: W - W.mean(dim=-1 if n == "W_O" else -2, keepdim=True) for n, W in sides.items()})


def copying_measures(
    subject: LanguageModel, able: Abilities, folded: Folded | NotApplicable, seed: int
) -> dict[str, Measure]:
    """ov_copying_score and ov_top1_share of every head."""
    for part in (folded, able.W_U):
        if isinstance(part, NotApplicable):
            names = ("ov_copying_score", "ov_top1_share")
            return {name: missing("score", "not applicable", part.reason) for name in names}
    assert isinstance(folded, Folded)
    assert isinstance(able.W_U, Tensor)
    weights, words, W_U = folded.weights, folded.words, able.W_U
    W_E, norm = subject.embedding(), subject.final_norm
    product = vocabulary_product(W_U, W_E)
    tokens = _some_tokens(len(W_E), seed).to(W_E.device)
    embedded = W_E[tokens]
    heads = weights.W_Q.shape[0] * weights.W_Q.shape[1]
    draws, rng = max(4, min(_DRAWS, 128 // heads)), generator(seed, "permuted OV weights")
    scores, shares, nulls = [], [], []
    for W_V, W_O in folded.layers():
        written = folded_output(W_O, norm)
        scores.append(ov_copying_score(W_V, written, product))
        shares.append(ov_top1_share(embedded, tokens, W_V, written, W_U))
        shuffled = (
            (permuted(W_V[None], rng)[0], folded_output(permuted(W_O[None], rng)[0], norm)) for _ in range(draws)
        )
        nulls.append(torch.stack([ov_copying_score(*one, product) for one in shuffled]))
    of_null = {PERMUTED_OV: torch.stack(nulls, dim=1).cpu().numpy()}
    sample = "" if len(tokens) == len(W_E) else f"of {len(tokens)} tokens drawn with the seed"
    chance = f"by chance it is {1 / len(W_E):.2g}"
    return {
        "ov_copying_score": of_weights(torch.stack(scores), "score", of_null, "", words, True),
        "ov_top1_share": of_weights(torch.stack(shares), "probability", {}, chance, joined(sample, words), True),
    }


def _some_tokens(d_vocab: int, seed: int) -> Int[Tensor, " token"]:
    if d_vocab <= _WHOLE:
        return torch.arange(d_vocab)
    return torch.randperm(d_vocab, generator=generator(seed, "tokens of the top-1 share"))[:_SAMPLE].sort().values


def of_weights(
    values: Float64[Tensor, "*axes"],
    unit: str,
    nulls: Mapping[str, np.ndarray],
    no_nulls: str,
    words: str,
    higher_is_better: bool | None = None,
    axes: tuple[str, ...] = HEADS,
) -> Measure:
    """A measure that is a function of the weights alone."""
    array = values.cpu().numpy()
    nan = np.full(array.shape, np.nan)
    return Measure(
        array,
        unit,
        (nan, nan),
        "none",
        1,
        axes,
        nulls=nulls,
        no_nulls="" if nulls else no_nulls,
        higher_is_better=higher_is_better,
        message=joined(words, _NO_INTERVAL),
    )


def joined(*words: str) -> str:
    return "; ".join(filter(None, words))
