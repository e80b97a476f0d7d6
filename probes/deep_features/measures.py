"""What was compared as measures: means over tasks with paired intervals, beside models without the mechanism."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from ..algorithms.fitting import mean_fit
from ..comparing.agreement_samples import samples_by_candidate
from ..comparing.behaviour import Compared, prediction_difference
from ..comparing.by_candidate import CANDIDATE, MODEL, Samples, flat_samples
from ..measure import Measure, along, missing
from ..regression.sensitivity import WORDS
from ..statistics.bootstrap import bootstrap_means, percentile_interval
from ..statistics.sample_measures import task_measures
from .fits import Rules
from .names import ATTENDED_GD, EMBEDDING, FEATURE_GD, FEATURE_RIDGE, TWIN, ZERO
from .read_out import ReadOut, explained
from .twin import NO_TWIN

METRICS = {
    "loss": "loss",
    "prediction_difference": "prediction_difference",
    "model_difference": "model_difference",
    "slope_agreement": "cosine",
}
"""Of a comparison task by task, by what a report calls them."""
ORDER = (MODEL, ZERO, EMBEDDING, FEATURE_GD, ATTENDED_GD, FEATURE_RIDGE, TWIN)
NOT_ATTENDED = "it is defined for one layer with one head of linear attention, without a layer norm"
SHARE = "share of what attention adds"
NOTHING_ADDED = "attention changes no answer of the model"
NOT_FINITE = "an answer is not finite"
FITTED = "fitted to the model's answers"


def per_task(found: Compared, nulls: Mapping[str, Sequence[Compared]]) -> Samples:
    """By metric and candidate."""
    held = samples_by_candidate(found, nulls, WORDS)
    return {name: held[metric] for name, metric in METRICS.items()}


def comparison_measures(
    samples: Samples, found: Compared, nulls: Mapping[str, Sequence[Compared]], seed: int, twin: str | None
) -> dict[str, Measure]:
    """Along an axis of candidates, those too that this model does not have.

    twin:  which one it is, or None where none was given
    """
    flat = task_measures(flat_samples(samples), seed)
    parts = {metric: {name: flat[f"{metric}_{name}"] for name in held} for metric, held in samples.items()}
    parts["unexplained_share"] = _shares(found, nulls, seed)
    return {metric: along(CANDIDATE, _completed(held, twin)) for metric, held in parts.items()}


def _completed(parts: Mapping[str, Measure], twin: str | None) -> dict[str, Measure]:
    unit, found = next(iter(parts.values())).unit, dict(parts)
    if ATTENDED_GD not in found:
        found[ATTENDED_GD] = missing(unit, "not applicable", NOT_ATTENDED)
    if twin is None:
        found[TWIN] = missing(unit, "not applicable", NO_TWIN)
    else:
        said = filter(None, (found[TWIN].message, f"the twin is {twin}"))
        found[TWIN] = replace(found[TWIN], message="; ".join(said))
    return {name: found[name] for name in ORDER if name in found}


def _shares(found: Compared, nulls: Mapping[str, Sequence[Compared]], seed: int) -> dict[str, Measure]:
    """What each candidate leaves unexplained: its mean distance over that of the answer read before attention."""
    gaps = distances(found)
    drawn = {null: [_left(one) for one in held] for null, held in nulls.items()}
    return {
        name: _share(
            gap, gaps[EMBEDDING], {null: np.array([left[name] for left in held]) for null, held in drawn.items()}, seed
        )
        for name, gap in gaps.items()
    }


def _left(found: Compared) -> dict[str, float]:
    """The share that each candidate leaves; NaN where attention adds nothing."""
    means = {name: float(gap.mean()) for name, gap in distances(found).items()}
    added = means[EMBEDDING]
    return {name: mean / added if added > 0 else float("nan") for name, mean in means.items()}


def distances(found: Compared) -> dict[str, Float[np.ndarray, " task"]]:
    """Of the model's answers from each candidate's."""
    return {
        name: prediction_difference(found.model.prediction, one.prediction).numpy()
        for name, one in found.candidates.items()
    }


def _share(gap: np.ndarray, added: np.ndarray, nulls: Mapping[str, np.ndarray], seed: int) -> Measure:
    if not (np.isfinite(gap).all() and np.isfinite(added).all()):
        return missing(SHARE, "undefined", NOT_FINITE)
    if not added.any():
        return missing(SHARE, "undefined", NOTHING_ADDED)
    resampled = bootstrap_means(np.stack([gap, added], axis=1), seed)
    with np.errstate(divide="ignore", invalid="ignore"):  # of a resample to whose tasks attention adds nothing
        interval = percentile_interval(resampled[:, 0] / resampled[:, 1])
    value = np.array(gap.mean() / added.mean())
    return Measure(value, SHARE, interval, "task", len(gap), nulls=nulls, higher_is_better=False)


def rate_measure(rules: Sequence[Rules]) -> Measure:
    """η of both kinds of steps."""
    held = {
        name: setting_measure(rules, name, "learning rate")
        if name in rules[0].settings
        else missing("learning rate", "not applicable", NOT_ATTENDED)
        for name in (FEATURE_GD, ATTENDED_GD)
    }
    return along(CANDIDATE, held)


def setting_measure(rules: Sequence[Rules], name: str, unit: str) -> Measure:
    """A fitted setting; the mean over folds."""
    fits = [one.settings[name] for one in rules]
    whole = mean_fit(fits)
    if not np.isfinite(whole.value):
        return missing(unit, "undefined", "the model's answers are not finite, or no setting gives finite ones")
    return Measure(
        np.array(whole.value),
        unit,
        (np.array(whole.low), np.array(whole.high)),
        "task",
        whole.n,
        no_nulls="it is fitted to this model's answers",
        message=f"{FITTED}; at an end of the range that was searched" if whole.at_end else FITTED,
    )


def read_out_measure(found: ReadOut, nulls: Mapping[str, Sequence[ReadOut]], seed: int) -> Measure:
    """R² of the linear read-out before attention and after each layer."""
    unit, n_layers = "share of the label's variance", found.errors.shape[1]
    values = explained(found.errors.mean(axis=0), found.spread.mean())
    if not np.isfinite(values).any():
        return missing(unit, "undefined", "states are not finite, or labels do not vary")
    means = bootstrap_means(np.concatenate([found.errors, found.spread[:, None]], axis=1), seed)
    return Measure(
        values,
        unit,
        percentile_interval(explained(means[:, :-1], means[:, -1:])),
        "task",
        len(found.spread),
        ("layer",),
        {"layer": (EMBEDDING, *range(n_layers - 1))},
        nulls={name: np.stack([one.r2 for one in held]) for name, held in nulls.items()},
        higher_is_better=True,
        message="nulls are fitted and judged on fewer tasks",
    )
