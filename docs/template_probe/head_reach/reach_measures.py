"""The formula over a batch of sequences, as measures with intervals and nulls; and the verdicts, read off measures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from einops import reduce
from jaxtyping import Float64, Int
from mesascope.data.batch import generator
from mesascope.models import LanguageModel
from mesascope.probes import Measure
from mesascope.probes.findings import head_name
from mesascope.probes.statistics.sample_measures import PerTask
from torch import Tensor

from .reach import distances, even_pattern, reach, reach_at, shuffled_distances

EVEN, SHUFFLED = "even attention", "shuffled keys"
"""Names of the two nulls."""
DRAWS = 199
"""Samples of the second: the smallest p they can give is 1 in 200."""
AXES = {"reach": ("layer", "head"), "layer_reach": ("layer",), "mean_reach": ()}
"""Measures, and the axes that are left of [sequence, layer, head]; the others are averaged."""
Reach = Float64[np.ndarray, "draw sequence layer head"]


def reach_metrics(
    subject: LanguageModel, tokens: Int[Tensor, "sequence pos"], first: int, seed: int, batch_size: int
) -> dict[str, PerTask]:
    """Reach for each sequence, and what the nulls make of it: `task_measures` makes measures of these."""
    n = tokens.shape[1]
    shuffled = shuffled_distances(n, DRAWS, generator(seed, "shuffled keys", n), first)
    found = _watched(subject, tokens, torch.cat([distances(n)[None], shuffled]), first, batch_size)
    even = np.full_like(found[:1], reach(even_pattern(n), first).item())
    return {
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


def _watched(
    subject: LanguageModel,
    tokens: Int[Tensor, "sequence pos"],
    distance: Float64[Tensor, "draw pos pos"],
    first: int,
    batch_size: int,
) -> Reach:
    """Reach with each table of distances. A layer's pattern is reduced as the layer runs, then dropped."""

    def kept(pattern: Tensor, layer: int) -> Tensor:
        return reach_at(pattern.cpu(), distance, first)

    passes = [subject.observe(batch, {"pattern": kept})["pattern"] for batch in tokens.split(batch_size)]
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
    return {head_name(head): str(words[head]) for head in np.ndindex(words.shape)}
