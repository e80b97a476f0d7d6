"""Measures of a language model's heads as a pass leaves them, made up: quick, and known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from mesascope.analyses.runs.aggregation import mean_over
from mesascope.probes import Measure
from mesascope.probes.attention_learning.agreement import DRAWS, Agreements
from mesascope.probes.attention_learning.head_measures import head_measures
from mesascope.probes.attention_learning.head_reading import HeadReading
from mesascope.probes.attention_learning.names import OTHER_TARGETS, PAIRS, SHUFFLED
from mesascope.probes.attention_learning.twin import NO_TWIN_OF_TEXT

LAYERS, HEADS, D_VOCAB = 2, 3, 50
NULLS = {SHUFFLED: 0.1, OTHER_TARGETS: 0.1}


def agreed(mean: object, n: int, draws: int, rng: np.random.Generator, nulls: Mapping[str, object]) -> Agreements:
    """Around these means [layer, head]."""
    around = lambda value, *shape: (  # noqa: E731
        np.broadcast_to(np.asarray(value, float), (LAYERS, HEADS))
        * (1 + 0.02 * rng.normal(size=(*shape, LAYERS, HEADS)))
    )
    return Agreements(around(mean, n), {name: around(value, draws, n) for name, value in nulls.items()})


def made(
    beta: object = 0.1,
    n: int = 12,
    draws: int = DRAWS,
    right: float = 0.5,
    nulls: Mapping[str, object] = NULLS,
    others: tuple[str, ...] = ("own_saliency",),
    same: tuple[tuple[int, int], ...] = (),
    seed: int = 0,
) -> dict[str, Measure]:
    """Agreement of attention and beta around these means, of other pairs around 0.1."""
    rng = np.random.default_rng(seed)
    found = {"beta": agreed(beta, n, draws, rng, nulls)}
    found |= {name: agreed(0.1, n, draws, rng, NULLS) for name in others}
    alike = np.zeros((LAYERS, HEADS), dtype=bool)
    for head in same:
        alike[head] = True
    rows = np.empty((0, LAYERS, HEADS, 1, 3), dtype=np.float32)
    shares = np.clip(right * (1 + 0.02 * rng.normal(size=n)), 0, 1)
    lacking = {name: NO_TWIN_OF_TEXT for name in PAIRS if name not in found}
    return head_measures(HeadReading(found, shares, alike, rows, rows), lacking, D_VOCAB, seed)


def over_seeds(*seeds: Mapping[str, Measure]) -> dict[str, Measure]:
    return {name: mean_over("seed", [measures[name] for measures in seeds]) for name in seeds[0]}
