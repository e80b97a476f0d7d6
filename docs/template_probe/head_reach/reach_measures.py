"""The formula over a batch of sequences, as measures with intervals and nulls; and the verdicts, read off measures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from einops import reduce
from jaxtyping import Float64
from mesascope.data import TokenBatch
from mesascope.data.batch import generator
from mesascope.models import LanguageModel
from mesascope.probes import Measure
from mesascope.probes.statistics.sample_measures import PerTask, task_measures

from .reach import distances, even_pattern, reach, reach_at, shuffled_distances

EVEN, SHUFFLED = "even attention", "shuffled keys"
"""Names of the two nulls."""
DRAWS = 199
"""Samples of the second: the smallest p they can give is 1 in 200."""
AXES = {"reach": ("layer", "head"), "layer_reach": ("layer",), "mean_reach": ()}
"""Measures, and the axes that are left of [sequence, layer, head]; the others are averaged."""
Reach = Float64[np.ndarray, "draw sequence layer head"]


def reach_measures(
    subject: LanguageModel, batch: TokenBatch, first: int, seed: int, batch_size: int
) -> tuple[dict[str, Measure], Float64[np.ndarray, "sequence layer head"]]:
    """The measures of one batch, and reach for each sequence. The bootstrap resamples sequences."""
    n = batch.tokens.shape[1]
    shuffled = shuffled_distances(n, DRAWS, generator(seed, "shuffled keys", n), first)
    found = _watched(subject, batch, torch.cat([distances(n)[None], shuffled]), first, batch_size)
    even = np.full_like(found[:1], reach(even_pattern(n), first).item())
    metrics = {
        name: PerTask(
            _averaged(found[:1], "draw sequence", axes)[0],
            "token",
            axes,
            nulls={
                EVEN: _averaged(even, "draw", axes),
                SHUFFLED: _averaged(found[1:], "draw", axes),
            },
            replicate="sequence",
        )
        for name, axes in AXES.items()
    }
    return task_measures(metrics, seed), found[0]


def _watched(
    subject: LanguageModel, batch: TokenBatch, distance: Float64[torch.Tensor, "draw pos pos"], first: int, size: int
) -> Reach:
    """Reach with each table of distances. A layer's pattern is reduced as the layer runs, then dropped."""

    def kept(pattern: torch.Tensor, layer: int) -> torch.Tensor:
        return reach_at(pattern.cpu(), distance, first)

    passes = [subject.observe(tokens, {"pattern": kept})["pattern"] for tokens in batch.tokens.split(size)]
    return torch.cat([torch.stack(layers, dim=2) for layers in passes], dim=1).numpy()


def _averaged(samples: Reach, lead: str, axes: tuple[str, ...]) -> np.ndarray:
    """Means over every axis but `lead` and `axes`."""
    return reduce(samples, f"draw sequence layer head -> {lead} {' '.join(axes)}", "mean")


def verdicts(measures: Mapping[str, Measure]) -> dict[str, str]:
    """Of each head: "near" or "far" where its interval lies below or above even attention at every length, else "none".

    {} where the measure has no heads: over several seeds it has none.
    """
    lengths = list(measures["reach"].apart().values())
    if any(part.axes != ("layer", "head") for part in lengths):
        return {}
    near = np.all([part.interval[1] < part.nulls[EVEN][0] for part in lengths], axis=0)
    far = np.all([part.interval[0] > part.nulls[EVEN][0] for part in lengths], axis=0)
    words = np.select([near, far], ["near", "far"], "none")
    return {f"L{layer}H{head}": str(word) for (layer, head), word in np.ndenumerate(words)}
