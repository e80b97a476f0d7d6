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
from .behaviour import Compared, prediction_difference
from .by_candidate import CANDIDATE

SHARE = "share of the prediction's variation"
CONSTANT = "the model's predictions do not vary between these tasks"
NOT_FINITE = "a prediction is not finite"


def variation(prediction: Float[Tensor, "task d_out"]) -> Float[Tensor, " task"]:
    """|p - median p|_2, task by task; the median is that of each output over the tasks."""
    with np.errstate(invalid="ignore"):  # of both infinities there is no middle: NaN, without a warning
        centre = torch.from_numpy(np.median(prediction.numpy(), axis=0))
    return prediction_difference(prediction, centre.expand_as(prediction))


def share_measures(evaluation: Compared, nulls: Mapping[str, Sequence[Compared]], seed: int) -> Measure:
    """`unexplained_share` of every candidate, each with a paired bootstrap interval, beside that of the nulls."""
    own = variation(evaluation.model.prediction).numpy()
    candidates = evaluation.candidates
    gaps = [prediction_difference(evaluation.model.prediction, one.prediction).numpy() for one in candidates.values()]
    resampled = bootstrap_means(np.stack([own, *gaps], axis=1), seed)
    with np.errstate(divide="ignore", invalid="ignore"):  # a resample of the tasks that do not vary has no share
        shares = (resampled[:, 1:] / resampled[:, :1]).T
    drawn = _null_shares(nulls)
    parts = {
        name: _measure(gap, own, of_name, {null: found[name] for null, found in drawn.items()})
        for name, gap, of_name in zip(candidates, gaps, shares, strict=True)
    }
    return along(CANDIDATE, parts)


def _null_shares(nulls: Mapping[str, Sequence[Compared]]) -> dict[str, dict[str, Float[np.ndarray, " draw"]]]:
    """By null and candidate."""
    shares = {null: [_shares(comparison) for comparison in drawn] for null, drawn in nulls.items()}
    return {
        null: {name: np.array([draw[name] for draw in drawn]) for name in drawn[0]} for null, drawn in shares.items()
    }


def _shares(comparison: Compared) -> dict[str, float]:
    """By candidate; NaN for predictions without variation."""
    own = variation(comparison.model.prediction).mean()
    gaps = {
        name: prediction_difference(comparison.model.prediction, candidate.prediction).mean()
        for name, candidate in comparison.candidates.items()
    }
    return {name: float(gap / own) if own > 0 else float("nan") for name, gap in gaps.items()}


def _measure(
    gaps: Float[np.ndarray, " task"],
    own: Float[np.ndarray, " task"],
    resampled: Float[np.ndarray, " resample"],
    nulls: Mapping[str, np.ndarray],
) -> Measure:
    if not (np.isfinite(gaps).all() and np.isfinite(own).all()):
        return missing(SHARE, "undefined", NOT_FINITE)
    if not own.any():
        return missing(SHARE, "undefined", CONSTANT)
    return Measure(
        np.array(gaps.mean() / own.mean()),
        SHARE,
        percentile_interval(resampled),
        replicate="task",
        n=len(gaps),
        nulls=nulls,
        higher_is_better=False,
    )
