"""Composition of heads with those of earlier layers, as measures beside random rotations (Elhage et al. 2021)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from ...data.batch import generator
from ...models.subject import NotApplicable
from ..findings import Head
from ..measure import Measure, along, missing, without_interval
from .experiment import Experiment
from .names import HEADS, KEYS, PAIRS, QUERIES, READ_BY, ROTATED, VALUES
from .weight_measures import OF_WEIGHTS, Folded
from .weights import composition_scores, rotated_composition_scores
from .words import joined, listed

FROM_PREVIOUS = "k_composition_from_previous"
ONE_LAYER = "a model of one layer has no earlier heads"
_FEW, _MOST = 4_096, 65_536  # pairs of heads: up to which there are null samples, and up to which numbers at all
_DRAWS = 20


@dataclass(frozen=True)
class Readers:
    """What the heads of later layers read by their queries, keys or values.

    offsets:  how many tokens back keys lie, for QK products that depend on it (rotary positions)
    """

    folded: Folded
    read_by: str
    offsets: tuple[int, ...]

    @property
    def depend_on_offset(self) -> bool:
        return self.folded.weights.rotary is not None and self.read_by != VALUES

    @property
    def message(self) -> str:
        at = f"rotary positions: mean over keys {listed(map(str, self.offsets))} tokens back" * self.depend_on_offset
        return joined(self.folded.left_out, self.chance, at)

    @property
    def chance(self) -> str:
        return f"a random rotation between the two gives {self.folded.width**-0.5:.3f} in the root mean square"

    def products(
        self, layer: int
    ) -> Iterator[tuple[Float[Tensor, "head d_model d_head"], Float[Tensor, "head d_head d_model"]]]:
        """Factors of QK products at every offset, of those transposed, or of OV products, of all heads of a layer."""
        weights = self.folded.weights
        if self.read_by == VALUES:
            yield list(self.folded.layers())[layer]
            return
        for offset in self.offsets if self.depend_on_offset else self.offsets[:1]:
            factors = [weights.qk(layer, head, offset) for head in range(weights.W_Q.shape[1])]
            left, right = (torch.stack(side) for side in zip(*factors, strict=True))
            yield (left, right) if self.read_by == QUERIES else (right.mT, left.mT)


def composition_measures(experiment: Experiment, folded: Folded | NotApplicable) -> dict[str, Measure]:
    """composition of every pair of heads, along the axis `read_by`: Q-, K- and V-composition."""
    reason = _not_reported(experiment, folded)
    if isinstance(folded, NotApplicable) or reason:
        absent = missing("ratio", "not applicable", reason)
        return {"composition": along("read_by", dict.fromkeys(READ_BY, absent))}
    readers = {read_by: Readers(folded, read_by, experiment.offsets) for read_by in READ_BY}
    return {"composition": along("read_by", {name: _of_all_pairs(experiment, one) for name, one in readers.items()})}


def _not_reported(experiment: Experiment, folded: Folded | NotApplicable) -> str:
    """Why there is no composition of all pairs; "" where there is."""
    if isinstance(folded, NotApplicable):
        return folded.reason
    n_layers, n_heads = experiment.heads
    if n_layers == 1:
        return ONE_LAYER
    if folded.weights.no_qk:
        return folded.weights.no_qk
    pairs = (n_layers * n_heads) ** 2
    many = f"{pairs:,} pairs of heads are too many for a report; composition_scores in weights.py gives any of them"
    return many if pairs > _MOST else ""


_NAMES_OF_SEEDS = {QUERIES: "q", KEYS: "k", VALUES: "v"}  # seeds stay those of earlier versions


def _of_all_pairs(experiment: Experiment, readers: Readers) -> Measure:
    n_layers, n_heads = experiment.heads
    draws = _DRAWS if (n_layers * n_heads) ** 2 <= _FEW else 0
    rng = generator(experiment.seed, "rotations", _NAMES_OF_SEEDS[readers.read_by])
    values = torch.full((n_layers, n_heads, n_layers, n_heads), torch.nan, dtype=torch.float64)
    nulls = torch.full((draws, *values.shape), torch.nan, dtype=torch.float64)
    written = list(readers.folded.layers())
    for layer in range(1, n_layers):
        products = list(readers.products(layer))
        for earlier in range(layer):
            scores = [composition_scores(*written[earlier], *product) for product in products]
            values[earlier, :, layer] = torch.stack(scores).mean(dim=0).cpu()
            if draws:
                turned = rotated_composition_scores(*written[earlier], *products[0], draws, rng, readers.folded.width)
                nulls[:, earlier, :, layer] = turned.cpu()
    return _of_weights(values, nulls, PAIRS, readers, "NaN unless the first head stands in an earlier layer")


def composition_from_previous(
    experiment: Experiment, folded: Folded | NotApplicable, previous: Collection[Head]
) -> dict[str, Measure]:
    """k_composition_from_previous: of each head, with that of these earlier heads which composes most with it.

    previous:  the previous-token heads
    """
    no_qk = None if isinstance(folded, NotApplicable) else folded.weights.no_qk
    if isinstance(folded, NotApplicable) or no_qk or experiment.heads[0] == 1 or not previous:
        reason = folded.reason if isinstance(folded, NotApplicable) else no_qk or ONE_LAYER
        words = reason if previous else "no head is a previous-token head"
        return {FROM_PREVIOUS: missing("ratio", "not applicable", words)}
    readers = Readers(folded, KEYS, experiment.offsets)
    values = torch.full(experiment.heads, torch.nan, dtype=torch.float64)
    nulls = torch.full((_DRAWS, *experiment.heads), torch.nan, dtype=torch.float64)
    written, rng = list(folded.layers()), generator(experiment.seed, "rotations", FROM_PREVIOUS)
    for layer in range(1, experiment.heads[0]):
        if earlier := [head for head in sorted(previous) if head[0] < layer]:
            W_V, W_O = (torch.stack([written[at][side][head] for at, head in earlier]) for side in (0, 1))
            products = list(readers.products(layer))
            scores = [composition_scores(W_V, W_O, *product) for product in products]
            values[layer] = torch.stack(scores).mean(dim=0).amax(dim=0).cpu()
            turned = rotated_composition_scores(W_V, W_O, *products[0], _DRAWS, rng, folded.width)
            nulls[:, layer] = turned.amax(dim=1).cpu()
    many = f"the largest with the {len(previous)} previous-token head{'s' * (len(previous) > 1)}"
    words = f"{many}; NaN in layers without an earlier one"
    return {FROM_PREVIOUS: _of_weights(values, nulls, HEADS, readers, words)}


def _of_weights(
    values: Float64[Tensor, "*axes"],
    nulls: Float64[Tensor, "draw *axes"],
    axes: tuple[str, ...],
    readers: Readers,
    words: str,
) -> Measure:
    samples: np.ndarray = nulls.numpy()
    return without_interval(
        values.numpy(),
        "ratio",
        axes,
        message=joined(readers.message, words, OF_WEIGHTS),
        nulls={ROTATED: samples} if len(samples) else {},
        no_nulls=readers.chance,
    )
