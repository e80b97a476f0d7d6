"""Composition of heads with those of earlier layers, as measures beside random rotations (Elhage et al. 2021)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ...data.batch import generator
from ...models.subject import NotApplicable
from ..measure import Measure, missing
from .weight_measures import Folded, joined, of_weights
from .weights import composition_scores, rotated_composition_scores

ROTATED = "random rotation"
AXES = ("earlier_layer", "earlier_head", "layer", "head")
KINDS = ("q", "k", "v")
FROM_PREVIOUS = "k_composition_from_previous"
_FEW, _MOST = 4_096, 65_536  # pairs of heads: up to which there are null samples, and up to which numbers at all
_DRAWS = 20


def composition_measures(folded: Folded | NotApplicable, offsets: Sequence[int], seed: int) -> dict[str, Measure]:
    """q_composition, k_composition and v_composition of every pair of heads.

    offsets:  where keys lie before queries, for QK products that depend on it (rotary positions)
    """
    names = {kind: f"{kind}_composition" for kind in KINDS}
    if isinstance(folded, NotApplicable):
        return {name: missing("ratio", "not applicable", folded.reason) for name in names.values()}
    n_layers, n_heads = folded.weights.W_Q.shape[:2]
    pairs = (n_layers * n_heads) ** 2
    if n_layers == 1 or pairs > _MOST:
        many = f"{pairs:,} pairs of heads are too many for a report; composition_scores gives any that are wanted"
        reason = _ONE_LAYER if n_layers == 1 else many
        return {name: missing("ratio", "not applicable", reason) for name in names.values()}
    draws = _DRAWS if pairs <= _FEW else 0
    found = {}
    for kind, name in names.items():
        values, nulls = _of_kind(folded, kind, offsets, draws, generator(seed, "rotations", kind))
        words = joined(_words(folded, kind, offsets), "NaN unless the first head stands in an earlier layer")
        null = {ROTATED: nulls} if draws else {}
        found[name] = of_weights(values, "ratio", null, _baseline(folded), words, axes=AXES)
    return found


def from_previous_token(
    folded: Folded | NotApplicable, heads: Collection[tuple[int, int]], offsets: Sequence[int], seed: int
) -> dict[str, Measure]:
    """k_composition_from_previous: of each head with that of these earlier heads which composes most with it.

    heads:  (layer, head) of the previous-token heads
    """
    reason = folded.reason if isinstance(folded, NotApplicable) else _ONE_LAYER
    if isinstance(folded, NotApplicable) or folded.weights.W_Q.shape[0] == 1 or not heads:
        return {
            FROM_PREVIOUS: missing("ratio", "not applicable", reason if heads else "no head is a previous-token head")
        }
    n_layers, n_heads = folded.weights.W_Q.shape[:2]
    values = torch.full((n_layers, n_heads), torch.nan, dtype=torch.float64)
    nulls = torch.full((_DRAWS, n_layers, n_heads), torch.nan, dtype=torch.float64)
    written, rng = list(folded.layers()), generator(seed, "rotations", FROM_PREVIOUS)
    for layer in range(1, n_layers):
        if earlier := [place for place in sorted(heads) if place[0] < layer]:
            W_V, W_O = (torch.stack([written[at][side][head] for at, head in earlier]) for side in (0, 1))
            products = list(_products(folded, layer, "k", offsets))
            scores = [composition_scores(W_V, W_O, *product) for product in products]
            values[layer] = torch.stack(scores).mean(dim=0).amax(dim=0).cpu()
            turned = rotated_composition_scores(W_V, W_O, *products[0], _DRAWS, rng, folded.width)
            nulls[:, layer] = turned.amax(dim=1).cpu()
    words = joined(_words(folded, "k", offsets), f"the largest with the {len(heads)} previous-token heads")
    words = joined(words, "NaN in layers that none of them stands before")
    return {FROM_PREVIOUS: of_weights(values, "ratio", {ROTATED: nulls.numpy()}, "", words)}


_ONE_LAYER = "one layer has no earlier heads"


def _baseline(folded: Folded) -> str:
    return f"a random rotation between the two gives {folded.width**-0.5:.3f} in the root mean square"


def _words(folded: Folded, kind: str, offsets: Sequence[int]) -> str:
    turned = folded.weights.rotary is not None and kind != "v"
    at = f"rotary positions: mean over keys {', '.join(map(str, offsets))} tokens back" if turned else ""
    return joined(folded.words, _baseline(folded), at)


def _of_kind(
    folded: Folded, kind: str, offsets: Sequence[int], draws: int, rng: torch.Generator
) -> tuple[Float64[Tensor, "l1 h1 l2 h2"], Float64[np.ndarray, "draw l1 h1 l2 h2"]]:
    """One kind of composition of all pairs of heads, and the same under random rotations."""
    n_layers, n_heads = folded.weights.W_Q.shape[:2]
    values = torch.full((n_layers, n_heads, n_layers, n_heads), torch.nan, dtype=torch.float64)
    nulls = torch.full((draws, *values.shape), torch.nan, dtype=torch.float64)
    written = list(folded.layers())
    for layer in range(1, n_layers):
        products = list(_products(folded, layer, kind, offsets))
        for earlier in range(layer):
            scores = [composition_scores(*written[earlier], *product) for product in products]
            values[earlier, :, layer] = torch.stack(scores).mean(dim=0).cpu()
            if draws:
                turned = rotated_composition_scores(*written[earlier], *products[0], draws, rng, folded.width)
                nulls[:, earlier, :, layer] = turned.cpu()
    return values, nulls.numpy()


def _products(
    folded: Folded, layer: int, kind: str, offsets: Sequence[int]
) -> Iterator[tuple[Float[Tensor, "head d_model d_head"], Float[Tensor, "head d_head d_model"]]]:
    """What the heads of a layer read: QK products at every offset, those transposed, or OV products; as factors."""
    weights = folded.weights
    if kind == "v":
        yield list(folded.layers())[layer]
        return
    for offset in offsets if weights.rotary is not None else offsets[:1]:
        factors = [weights.qk(layer, head, offset) for head in range(weights.W_Q.shape[1])]
        left, right = (torch.stack(side) for side in zip(*factors, strict=True))
        yield (left, right) if kind == "q" else (right.mT, left.mT)
