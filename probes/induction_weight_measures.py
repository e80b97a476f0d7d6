"""Copying of every head and its composition with heads of earlier layers, as measures beside their nulls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from ..data.batch import generator
from ..models.language_model import LanguageModel
from ..models.subject import NotApplicable
from ..models.weights import AttentionWeights
from .induction_nulls import permuted
from .induction_passes import Abilities
from .induction_weights import (
    composition_scores,
    folded_output,
    ov_copying_score,
    ov_top1_share,
    rotated_composition_scores,
    vocabulary_product,
)
from .measure import Measure, missing

PERMUTED_OV = "W_V and W_O permuted"
ROTATED = "random rotation"
COMPOSITION_AXES = ("earlier_layer", "earlier_head", "layer", "head")
KINDS = ("q", "k", "v")
_SAMPLE = 256  # tokens whose own logit is looked at, where the vocabulary is larger than _WHOLE
_WHOLE = 1024
_FEW, _MOST = 4_096, 65_536  # pairs of heads: up to which there are null samples, and up to which numbers at all
_DRAWS = 20
_NO_INTERVAL = "a function of the weights: there is nothing to resample"


def weight_measures(subject: LanguageModel, able: Abilities, offsets: Sequence[int], seed: int) -> dict[str, Measure]:
    """ov_copying_score, ov_top1_share, and q_, k_ and v_composition.

    offsets:  where keys lie before queries, for QK products that depend on it (rotary positions)
    """
    if isinstance(able.weights, NotApplicable):
        names = ("ov_copying_score", "ov_top1_share", *(f"{kind}_composition" for kind in KINDS))
        return {name: missing("score", "not applicable", able.weights.reason) for name in names}
    words, centres, folded = "", False, subject.weights(folded=True)
    if isinstance(folded, NotApplicable):
        words, weights = f"no norm is folded in: {folded.reason}", able.weights
    else:
        if isinstance(able.directions, NotApplicable) and not isinstance(able.W_U, NotApplicable):
            words = f"{able.directions.reason}: that norm is left out"
        centres = _centres(subject)
        weights = _centred(folded) if centres else folded
    if weights.rotary is None:
        offsets = offsets[:1]
    return _copying(subject, able.W_U, weights, seed, words) | _composition(weights, centres, offsets, seed, words)


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


def _copying(
    subject: LanguageModel, W_U: Tensor | NotApplicable, weights: AttentionWeights, seed: int, words: str
) -> dict[str, Measure]:
    if isinstance(W_U, NotApplicable):
        names = ("ov_copying_score", "ov_top1_share")
        return {name: missing("score", "not applicable", W_U.reason) for name in names}
    W_E, norm = subject.embedding(), subject.final_norm
    product = vocabulary_product(W_U, W_E)
    tokens = _some_tokens(len(W_E), seed).to(W_E.device)
    embedded = W_E[tokens]
    heads = weights.W_Q.shape[0] * weights.W_Q.shape[1]
    draws, rng = max(4, min(_DRAWS, 128 // heads)), generator(seed, "permuted OV weights")
    scores, shares, nulls = [], [], []
    for W_V, W_O in _layers(weights):
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
        "ov_copying_score": _of_weights(torch.stack(scores), "score", of_null, "", words, True),
        "ov_top1_share": _of_weights(torch.stack(shares), "probability", {}, chance, _joined(sample, words), True),
    }


def _layers(weights: AttentionWeights) -> Iterator[tuple[Tensor, Tensor]]:
    """W_V, one a query head, and W_O, layer by layer."""
    for W_V, W_O in zip(weights.W_V, weights.W_O, strict=True):
        yield W_V.repeat_interleave(weights.group, dim=0), W_O


def _some_tokens(d_vocab: int, seed: int) -> Int[Tensor, " token"]:
    if d_vocab <= _WHOLE:
        return torch.arange(d_vocab)
    return torch.randperm(d_vocab, generator=generator(seed, "tokens of the top-1 share"))[:_SAMPLE].sort().values


def _composition(
    weights: AttentionWeights, centres: bool, offsets: Sequence[int], seed: int, words: str
) -> dict[str, Measure]:
    n_layers, n_heads, d_model, _ = weights.W_Q.shape
    names = {kind: f"{kind}_composition" for kind in KINDS}
    pairs = (n_layers * n_heads) ** 2
    if n_layers == 1 or pairs > _MOST:
        many = f"{pairs:,} pairs of heads are too many for a report; composition_scores gives any that are wanted"
        reason = "one layer has no earlier heads" if n_layers == 1 else many
        return {name: missing("ratio", "not applicable", reason) for name in names.values()}
    width, draws = d_model - centres, _DRAWS if pairs <= _FEW else 0
    baseline = f"a random rotation between the two gives {width**-0.5:.3f} in the root mean square"
    words = _joined(words, baseline, "NaN unless the first head stands in an earlier layer")
    found = {}
    for kind, name in names.items():
        values, nulls = _of_kind(weights, kind, offsets, draws, width, generator(seed, "rotations", kind))
        said = words
        if weights.rotary is not None and kind != "v":
            said = _joined(words, f"rotary positions: mean over keys {', '.join(map(str, offsets))} tokens back")
        found[name] = _of_weights(values, "ratio", {ROTATED: nulls} if draws else {}, baseline, said)
    return found


def _of_kind(
    weights: AttentionWeights, kind: str, offsets: Sequence[int], draws: int, width: int, rng: torch.Generator
) -> tuple[Float64[Tensor, "l1 h1 l2 h2"], Float64[np.ndarray, "draw l1 h1 l2 h2"]]:
    """One kind of composition of all pairs of heads, and the same under random rotations."""
    n_layers, n_heads = weights.W_Q.shape[:2]
    values = torch.full((n_layers, n_heads, n_layers, n_heads), torch.nan, dtype=torch.float64)
    nulls = torch.full((draws, *values.shape), torch.nan, dtype=torch.float64)
    written = list(_layers(weights))
    for layer in range(1, n_layers):
        products = list(_products(weights, layer, kind, offsets))
        for earlier in range(layer):
            scores = [composition_scores(*written[earlier], *product) for product in products]
            values[earlier, :, layer] = torch.stack(scores).mean(dim=0).cpu()
            if draws:
                turned = rotated_composition_scores(*written[earlier], *products[0], draws, rng, width)
                nulls[:, earlier, :, layer] = turned.cpu()
    return values, nulls.numpy()


def _products(
    weights: AttentionWeights, layer: int, kind: str, offsets: Sequence[int]
) -> Iterator[tuple[Float[Tensor, "head d_model d_head"], Float[Tensor, "head d_head d_model"]]]:
    """What the heads of a layer read: QK products at every offset, those transposed, or OV products; as factors."""
    if kind == "v":
        yield weights.W_V[layer].repeat_interleave(weights.group, dim=0), weights.W_O[layer]
        return
    for offset in offsets:
        factors = [weights.qk(layer, head, offset) for head in range(weights.W_Q.shape[1])]
        left, right = (torch.stack(side) for side in zip(*factors, strict=True))
        yield (left, right) if kind == "q" else (right.mT, left.mT)


def _of_weights(
    values: Float64[Tensor, "*axes"],
    unit: str,
    nulls: Mapping[str, np.ndarray],
    no_nulls: str,
    words: str,
    higher_is_better: bool | None = None,
) -> Measure:
    array = values.cpu().numpy()
    nan = np.full(array.shape, np.nan)
    return Measure(
        array,
        unit,
        (nan, nan),
        "none",
        1,
        COMPOSITION_AXES if array.ndim == 4 else COMPOSITION_AXES[2:],
        nulls=nulls,
        no_nulls="" if nulls else no_nulls,
        higher_is_better=higher_is_better,
        message=_joined(words, _NO_INTERVAL),
    )


def _joined(*words: str) -> str:
    return "; ".join(filter(None, words))
