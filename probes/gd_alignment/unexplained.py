"""How much of a model's prediction a candidate leaves unexplained, as a share of the prediction's own variation.

    share = mean over tasks |p_model - p_candidate|_2  /  mean over tasks |p_model - median p_model|_2

0: the candidate gives every prediction. 1: it is as far away as a constant. The median of each output is the constant
to which the mean distance is least; it hardly moves between resamples of the tasks, so the interval keeps it fixed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..measure import Measure, along, missing
from ..statistics.bootstrap import bootstrap_means, percentile_interval
from .behaviours import Comparison
from .names import CANDIDATE
from .sensitivity import Behaviour, prediction_difference

SHARE = "share of the prediction's variation"
CONSTANT = "the model's predictions do not vary between these tasks"
NOT_FINITE = "a prediction is not finite"


def variation(prediction: Float[Tensor, "task d_out"]) -> Float[Tensor, " task"]:
    """|p - median p|_2, task by task; the median is that of each output over the tasks."""
    with np.errstate(invalid="ignore"):  # of both infinities there is no middle: NaN, without a warning
        centre = torch.from_numpy(np.median(prediction.numpy(), axis=0))
    return prediction_difference(prediction, centre.expand_as(prediction))


def share_measures(evaluation: Comparison, nulls: Mapping[str, Sequence[Comparison]], seed: int) -> Measure:
    """`unexplained_share` of every candidate, each with a paired bootstrap interval, beside that of the nulls."""
    own = variation(evaluation.model.prediction).numpy()
    parts = {}
    for name, candidate in evaluation.candidates.items():
        drawn = {null: np.array([_share(one, one.candidates[name]) for one in held]) for null, held in nulls.items()}
        gaps = prediction_difference(evaluation.model.prediction, candidate.prediction).numpy()
        parts[name] = _measure(gaps, own, drawn, seed)
    return along(CANDIDATE, parts)


def _share(comparison: Comparison, candidate: Behaviour) -> float:
    """NaN for predictions without variation."""
    gap = prediction_difference(comparison.model.prediction, candidate.prediction).mean()
    own = variation(comparison.model.prediction).mean()
    return float(gap / own) if own > 0 else float("nan")


def _measure(
    gaps: Float[np.ndarray, " task"], own: Float[np.ndarray, " task"], nulls: Mapping[str, np.ndarray], seed: int
) -> Measure:
    if not (np.isfinite(gaps).all() and np.isfinite(own).all()):
        return missing(SHARE, "undefined", NOT_FINITE)
    if not own.any():
        return missing(SHARE, "undefined", CONSTANT)
    resampled = bootstrap_means(np.stack([gaps, own], axis=1), seed)
    with np.errstate(divide="ignore", invalid="ignore"):  # a resample of the tasks that do not vary has no share
        interval = percentile_interval(resampled[:, 0] / resampled[:, 1])
    return Measure(
        np.array(gaps.mean() / own.mean()),
        SHARE,
        interval,
        replicate="task",
        n=len(gaps),
        nulls=nulls,
        higher_is_better=False,
    )
