"""What heads do by their weights alone, as measures: copying, and weights prepared for it and for composition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...data.batch import generator
from ...models.language_model import LanguageModel
from ...models.subject import NotApplicable
from ...models.weights import AttentionWeights
from ..measure import Measure, missing, without_interval
from .access import Access
from .experiment import Experiment
from .names import HEADS, PERMUTED_OV
from .nulls import permuted
from .weights import folded_output, ov_copying_score, ov_top1_share, vocabulary_product
from .words import joined

_SAMPLE = 256  # tokens whose own logit is read, where the vocabulary is larger than _WHOLE
_WHOLE = 1024
_DRAWS = 20
OF_WEIGHTS = "a function of the weights, without an interval"
"""Said of every measure that resamples nothing."""


@dataclass(frozen=True)
class Folded:
    """Attention weights as they read and write plain states: norms folded in, means taken out where norms do so.

    width:     dimensions that a state has: d_model, or one less without its mean
    left_out:  what the folding leaves out, for the measures' messages
    """

    weights: AttentionWeights
    width: int
    left_out: str = ""

    @classmethod
    def of(cls, subject: LanguageModel, access: Access) -> Folded | NotApplicable:
        if isinstance(access.weights, NotApplicable):
            return access.weights
        folded, d_model = subject.weights(folded=True), subject.shape.d_model
        if isinstance(folded, NotApplicable):
            return cls(access.weights, d_model, f"no norm is folded in: {folded.reason}")
        left_out = ""
        if isinstance(access.direct_path, NotApplicable) and not isinstance(access.W_U, NotApplicable):
            left_out = f"{access.direct_path.reason}; that norm is left out"
        return cls(_centred(folded), d_model - 1, left_out) if _centres(subject) else cls(folded, d_model, left_out)

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


def copying_measures(experiment: Experiment, folded: Folded | NotApplicable) -> dict[str, Measure]:
    """ov_copying_score and ov_top1_share of every head."""
    W_U = experiment.access.W_U
    for needed in (folded, W_U, experiment.subject.no_embedded_states()):
        if isinstance(needed, NotApplicable):
            names = ("ov_copying_score", "ov_top1_share")
            return {name: missing("score", "not applicable", needed.reason) for name in names}
    assert isinstance(folded, Folded)
    assert isinstance(W_U, Tensor)
    return {
        "ov_copying_score": _copying_score(experiment, folded, W_U),
        "ov_top1_share": _top1_share(experiment, folded, W_U),
    }


def _copying_score(experiment: Experiment, folded: Folded, W_U: Float[Tensor, "d_model d_vocab"]) -> Measure:
    W_E = experiment.subject.embedding()
    if experiment.ids is not None:  # other tokens may have been left as they were initialised
        ids = torch.tensor(experiment.ids, device=W_E.device)
        W_E, W_U = W_E[ids], W_U[:, ids.to(W_U.device)]
    product = vocabulary_product(W_U, W_E)
    norm, rng = experiment.subject.final_norm, generator(experiment.seed, "permuted OV weights")
    n_layers, n_heads = experiment.heads
    draws = max(4, min(_DRAWS, 128 // (n_layers * n_heads)))
    scores, nulls = [], []
    for W_V, W_O in folded.layers():
        scores.append(ov_copying_score(W_V, folded_output(W_O, norm), product))
        shuffled = (
            (permuted(W_V[None], rng)[0], folded_output(permuted(W_O[None], rng)[0], norm)) for _ in range(draws)
        )
        nulls.append(torch.stack([ov_copying_score(*one, product) for one in shuffled]))
    return without_interval(
        torch.stack(scores).cpu().numpy(),
        "score",
        HEADS,
        message=joined(folded.left_out, OF_WEIGHTS),
        nulls={PERMUTED_OV: torch.stack(nulls, dim=1).cpu().numpy()},
        higher_is_better=True,
    )


def _top1_share(experiment: Experiment, folded: Folded, W_U: Float[Tensor, "d_model d_vocab"]) -> Measure:
    W_E, norm = experiment.subject.embedding(), experiment.subject.final_norm
    tokens = _some_tokens(len(W_E), experiment.ids, experiment.seed).to(W_E.device)
    embedded = W_E[tokens]
    shares = [ov_top1_share(embedded, tokens, W_V, folded_output(W_O, norm), W_U) for W_V, W_O in folded.layers()]
    drawn = " drawn with the seed" * (len(tokens) < len(experiment.ids or W_E))
    sample = "" if len(tokens) == len(W_E) else f"over {len(tokens)} tokens{drawn}"
    return without_interval(
        torch.stack(shares).cpu().numpy(),
        "probability",
        HEADS,
        message=joined(sample, folded.left_out, OF_WEIGHTS),
        no_nulls=f"chance is {1 / len(W_E):.2g}",
        higher_is_better=True,
    )


def _some_tokens(d_vocab: int, ids: tuple[int, ...] | None, seed: int) -> Int[Tensor, " token"]:
    """All tokens that sequences are drawn from, or of the vocabulary; of many a sample, drawn with the seed."""
    tokens = torch.arange(d_vocab) if ids is None else torch.tensor(ids)
    if len(tokens) <= _WHOLE:
        return tokens
    chosen = torch.randperm(len(tokens), generator=generator(seed, "tokens of the top-1 share"))[:_SAMPLE]
    return tokens[chosen.sort().values]
