"""Measures of a model's filter: its response by eigenvalue, what no filter explains, and its degree as a polynomial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float

from ..measure import Measure, along, missing, without_interval
from ..regression.examined import Examined
from ..regression.sensitivity import predictions
from ..statistics.bootstrap import bootstrap_means, percentile_interval
from .curve import Binned, mean_of_bins
from .learned import Learned
from .names import BIN, EFFECTIVE, EXACT, EXACTLY, KIND, LAYER, MOST_DEGREES, OF_THE_CURVE, UNTRAINED
from .shares import Samples, Shares, plain

RESPONSE = "share of least squares"
SHARE = "share of E|W|²"
EIGENVALUE = "squared input"
JACOBIAN = "W is the Jacobian of the read-out at the query"
NO_WEIGHTS = "the model's weights are 0 or not finite there"
NO_ARCHITECTURE = "a wrapped predictor's architecture is not known, so it has no untrained models"
ANY_CURVE = "any number from 1 on may be the degree of an untrained model's noise"
OF_THE_TASKS = "a number of the tasks, not of the model"
NOT_LINEAR = "share of E|prediction|²"


def filter_measures(learned: Learned, shares: Shares) -> dict[str, Measure]:
    """Those of the model's own curve, without a formula."""
    drawn = [plain(halves, shares.edges) for _, halves in learned.untrained]
    off, response = ([one[place] for one in drawn] for place in (0, 1))
    share = _of_tasks(shares.free, SHARE, shares.n, (LAYER,), off, higher_is_better=False)
    how = "" if learned.exact else JACOBIAN
    return {
        "response": _of_tasks(shares.response, RESPONSE, shares.n, (LAYER, BIN), response),
        "eigenvalue": _eigenvalues(learned, shares),
        "off_filter_share": replace(share, message="; ".join(filter(None, (share.message, how)))),
        "polynomial_degree": along(KIND, {kind: _degree(kind, shares) for kind in (EFFECTIVE, EXACT)}),
    }


def _of_tasks(
    held: Samples,
    unit: str,
    n: int,
    axes: tuple[str, ...],
    drawn: Sequence[np.ndarray],
    higher_is_better: bool | None = None,
) -> Measure:
    """A measure over tasks beside the same of untrained models."""
    if not np.isfinite(held.share).any():
        return missing(unit, "undefined", NO_WEIGHTS)
    return Measure(
        held.share,
        unit,
        percentile_interval(held.resampled),
        replicate="task",
        n=n,
        axes=axes,
        nulls={UNTRAINED: np.stack(drawn)} if drawn else {},
        no_nulls="" if drawn else NO_ARCHITECTURE,
        higher_is_better=higher_is_better,
        message=NO_WEIGHTS if np.isnan(held.share).any() else "",
    )


def _eigenvalues(learned: Learned, shares: Shares) -> Measure:
    """The mean eigenvalue of each bin, weighed as the response is."""
    held = [Binned(fold.judged, shares.edges) for fold in learned.folds]
    means = mean_of_bins(held, [one.modes.eigenvalues for one in held])
    return without_interval(means, EIGENVALUE, (BIN,), message=OF_THE_TASKS, no_nulls=OF_THE_TASKS)


def _degree(kind: str, shares: Shares) -> Measure:
    """The least degree at which a polynomial is the free curve, or the weights themselves."""
    none = f"none up to {MOST_DEGREES}"

    def least(degrees: np.ndarray, free: np.ndarray) -> Float[np.ndarray, "*resample layer"]:
        """Axes [*resample, degree, layer]; NaN where no degree is enough."""
        enough = degrees <= free[..., None, :] + OF_THE_CURVE if kind == EFFECTIVE else degrees < EXACTLY
        return np.where(enough.any(axis=-2), 1.0 + enough.argmax(axis=-2), np.nan)

    values = least(shares.degrees.share, shares.free.share)
    if not np.isfinite(values).any():
        return missing("degree", "undefined", none)
    low, high = np.nanpercentile(
        np.nan_to_num(least(shares.degrees.resampled, shares.free.resampled), nan=MOST_DEGREES + 1.0),
        (2.5, 97.5), axis=0, method="nearest",
    )  # fmt: skip
    known = np.isfinite(values)
    return Measure(
        values,
        "degree",
        (np.where(known, low, np.nan), np.where(known, high, np.nan)),
        replicate="task",
        n=shares.n,
        axes=(LAYER,),
        no_nulls=ANY_CURVE,
        message="" if known.all() else f"NaN: {none}",
    )


def not_linear_measure(examined: Examined, learned: Learned, seed: int) -> Measure:
    """`not_linear_share`: of the model's answers, what W x_q leaves: W is their derivative at the query."""
    tasks = examined.splits.evaluation
    answers = examined.sign * predictions(examined.subject.predict, examined.inputs(tasks), examined.batch_size)
    columns = torch.stack([(answers - learned.linear).square().sum(dim=1), answers.square().sum(dim=1)], dim=1).numpy()
    means = columns.mean(axis=0)
    if not (np.isfinite(means).all() and means[1] > 0):
        return missing(NOT_LINEAR, "undefined", "the model's answers are 0 or not finite")
    resampled = bootstrap_means(columns, seed)
    return Measure(
        np.array(means[0] / means[1]),
        NOT_LINEAR,
        percentile_interval(resampled[:, 0] / resampled[:, 1]),
        replicate="task",
        n=len(columns),
        no_nulls="untrained models of this architecture need not be linear in the query either",
        higher_is_better=False,
    )
