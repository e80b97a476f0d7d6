"""Where massive activations are, read off a measure: without torch, for the claim and for figures."""

from __future__ import annotations

import numpy as np

from ..measure import Measure


def massive_dimensions(measure: Measure) -> list[int]:
    """Those of the measure `massive_dimension`; over seeds those of any seed, and no mean of them."""
    indices = measure.values if measure.points is None else measure.points
    return sorted({int(index) for index in indices[np.isfinite(indices)]})


def massive_layers(measure: Measure) -> list[int]:
    """Layers of the stream that have any; over seeds those of any seed."""
    indices = measure.values[None] if measure.points is None else measure.points
    layers = np.unique(np.argwhere(np.isfinite(indices))[:, 1])
    return [measure.labels("layer")[layer] for layer in layers]


def named_dimensions(dimensions: list[int], most: int) -> str:
    """`dimensions 138, 378`; of more than `most`, how many there are."""
    if len(dimensions) > most:
        return f"{len(dimensions)} dimensions"
    return f"dimension{'s' * (len(dimensions) > 1)} {', '.join(map(str, dimensions))}"
