"""Measures of the inputs' spectrum at every depth: `curvature_eigenvalues`, `curvature_spread`."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from ...models.subject import NotApplicable
from ..comparing.by_candidate import MODEL, measures_by_candidate, missing_by_candidate
from ..measure import Measure
from ..statistics.sample_measures import PerTask
from .curvature import Spectra, spread

SQUARED_INPUT, RELATIVE = "squared input", "relative"
INPUTS = "inputs"
"""The label of the layer axis at the inputs as they are given; after it, numbers of the layers that moved them."""
NO_NULLS = "compare with the inputs as they are given"
NO_NUMBER = "NaN where the inputs are not finite, or all 0"


def curvature_measures(found: Spectra | NotApplicable, seed: int) -> dict[str, Measure]:
    """Means over tasks of the eigenvalues of Σ x xᵀ, and of their spread."""
    if isinstance(found, NotApplicable):
        units = {"curvature_eigenvalues": SQUARED_INPUT, "curvature_spread": RELATIVE}
        return {
            name: missing_by_candidate([MODEL], unit, "not applicable", found.reason) for name, unit in units.items()
        }
    samples = {
        "curvature_eigenvalues": {name: _samples(held, SQUARED_INPUT, "rank") for name, held in found.items()},
        "curvature_spread": {name: _samples(spread(held), RELATIVE) for name, held in found.items()},
    }
    return measures_by_candidate(samples, seed)


def _samples(held: Float[np.ndarray, "task layer *rank"], unit: str, *ranks: str) -> PerTask:
    coords = {"layer": (INPUTS, *range(held.shape[1] - 1))}
    coords |= {rank: tuple(range(1, held.shape[-1] + 1)) for rank in ranks}
    return PerTask(held, unit, ("layer", *ranks), coords, no_nulls=NO_NULLS, no_number=NO_NUMBER)
