"""Measures of the contest: how far the model is from every family, and every family from every other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..comparing.agreement_samples import NO_MODEL, candidate_matrices, samples_by_candidate
from ..comparing.behaviour import Behaviour, Compared, prediction_difference
from ..comparing.by_candidate import CANDIDATE, OTHER_CANDIDATE, flat_samples, measures_by_candidate
from ..comparing.unexplained import CONSTANT as NO_VARIATION
from ..comparing.unexplained import NOT_FINITE, SHARE, share_measures, variation
from ..measure import Measure, along, missing
from ..regression.sensitivity import WORDS
from ..statistics.bootstrap import bootstrap_means, percentile_interval
from .contest import Contest

SQUARED_SHARE = "share of the prediction's variance"
ROUNDING = 1e-9
"""An error of a smaller share of the labels is none: where least squares finds every label, its errors are rounding."""


def behaviour_measures(contest: Contest, seed: int) -> tuple[dict[str, Measure], dict[str, np.ndarray]]:
    """All of them, and the samples behind those that a reader may want task by task."""
    evaluation, nulls = contest.evaluation, contest.nulls
    metrics = samples_by_candidate(evaluation, nulls, WORDS)
    unit = WORDS.units["prediction_difference"]
    measures = measures_by_candidate(metrics, seed, candidate_matrices(evaluation, unit))
    measures["unexplained_share"] = share_measures(evaluation, nulls, seed)
    measures["squared_share"] = _by_candidate(evaluation, nulls, SQUARES, seed)
    measures["error_cosine"] = _by_candidate(evaluation, nulls, ERRORS, seed)
    measures["candidate_distance"] = candidate_distance(evaluation, seed)
    arrays = {name: held.samples for name, held in flat_samples(metrics).items()}
    arrays["prediction_model"] = evaluation.model.prediction.numpy()
    arrays |= {f"prediction_{name}": other.prediction.numpy() for name, other in evaluation.candidates.items()}
    return measures, arrays


Columns = Float[np.ndarray, "task column"]
Nulls = Mapping[str, Sequence[Compared]]


@dataclass(frozen=True)
class Statistic:
    """A function of means over tasks.

    columns:  what the means are of, for the model and another
    value:    [*resample, column] -> [*resample]
    absent:   why it may have no number
    """

    columns: Callable[[Compared, Behaviour], Columns]
    value: Callable[[np.ndarray], np.ndarray]
    unit: str
    higher_is_better: bool
    absent: str


def _squares(compared: Compared, other: Behaviour) -> Columns:
    """|p_model - p_other|², |p_model - mean p_model|²."""
    own = compared.model.prediction
    return _columns((own - other.prediction).square(), (own - own.mean(dim=0)).square())


def _columns(*products: Float[Tensor, "task d_out"]) -> Columns:
    """Each summed over outputs; NaN for what is not finite."""
    sums = torch.stack([product.sum(dim=1) for product in products], dim=1)
    return torch.where(sums.isfinite(), sums, torch.nan).numpy()


def _ratio(means: Float[np.ndarray, "*resample column"]) -> Float[np.ndarray, "*resample"]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(means[..., 0] / means[..., 1])


def _error_products(compared: Compared, other: Behaviour) -> Columns:
    """Of the errors e = p - y of the model and of the other: <e_m, e_o>, |e_m|², |e_o|²."""
    own, its = (_errors(one.prediction, compared.targets.cpu().double()) for one in (compared.model, other))
    return _columns(own * its, own.square(), its.square())


def _errors(prediction: Float[Tensor, "task d_out"], targets: Float[Tensor, "task d_out"]) -> Tensor:
    errors = prediction - targets
    return torch.where(errors.abs() <= ROUNDING * targets.abs().mean(), 0.0, errors)


def _cosine(means: Float[np.ndarray, "*resample column"]) -> Float[np.ndarray, "*resample"]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(means[..., 0] / np.sqrt(means[..., 1] * means[..., 2]))


SQUARES = Statistic(_squares, _ratio, SQUARED_SHARE, False, "predictions do not vary between these tasks, or diverge")
ERRORS = Statistic(_error_products, _cosine, "cosine", True, "one of the two makes no error, or diverges")


def _by_candidate(evaluation: Compared, nulls: Nulls, of: Statistic, seed: int) -> Measure:
    """A statistic of means over tasks, of the model and every family, with its bootstrap interval."""
    held = {name: of.columns(evaluation, other) for name, other in evaluation.candidates.items()}
    resampled = np.split(bootstrap_means(np.concatenate(list(held.values()), axis=1), seed), len(held), axis=1)
    parts = {}
    for (name, columns), again in zip(held.items(), resampled, strict=True):
        value = float(of.value(columns.mean(axis=0)))
        if not np.isfinite(value):
            parts[name] = missing(of.unit, "undefined", of.absent)
            continue
        drawn = {
            null: np.array([float(of.value(of.columns(one, one.candidates[name]).mean(axis=0))) for one in found])
            for null, found in nulls.items()
        }
        parts[name] = Measure(
            np.array(value),
            of.unit,
            percentile_interval(of.value(again)),
            replicate="task",
            n=len(columns),
            nulls=drawn,
            higher_is_better=of.higher_is_better,
        )
    return along(CANDIDATE, parts)


def candidate_distance(evaluation: Compared, seed: int) -> Measure:
    """How far every family, fitted to the model, is from every other: mean distance of their predictions, as a share of
    the variation of the model's.
    """
    own = variation(evaluation.model.prediction).numpy()
    names = tuple(evaluation.candidates)
    if not (np.isfinite(own).all() and own.any()):
        return missing(SHARE, "undefined", NO_VARIATION if np.isfinite(own).all() else NOT_FINITE)
    found = [evaluation.candidates[name].prediction for name in names]
    pairs = [(i, j) for i in range(len(names)) for j in range(i)]
    columns = np.stack([own, *(prediction_difference(found[i], found[j]).numpy() for i, j in pairs)], axis=1)
    means, ends = columns.mean(axis=0), percentile_interval(_shares(bootstrap_means(columns, seed)))
    values, low, high = (_symmetric(part, pairs, len(names)) for part in (_shares(means), *ends))
    return Measure(
        values,
        SHARE,
        (low, high),
        replicate="task",
        n=len(own),
        axes=(CANDIDATE, OTHER_CANDIDATE),
        coords={CANDIDATE: names, OTHER_CANDIDATE: names},
        no_nulls=NO_MODEL,
        message="NaN where a prediction is not finite" if np.isnan(values).any() else "",
    )


def _shares(means: Float[np.ndarray, "*resample column"]) -> Float[np.ndarray, "*resample pair"]:
    with np.errstate(invalid="ignore"):
        found = means[..., 1:] / means[..., :1]
    return np.where(np.isfinite(found), found, np.nan)


def _symmetric(values: Float[np.ndarray, " pair"], pairs: Sequence[tuple[int, int]], n: int) -> np.ndarray:
    matrix = np.zeros((n, n))
    for (i, j), value in zip(pairs, values, strict=True):
        matrix[i, j] = matrix[j, i] = value
    return matrix
