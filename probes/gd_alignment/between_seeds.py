"""Between the seeds of one recipe: how alike two trained models are is the ceiling for any comparison with a third."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...data.batch import Batch
from ...models.regressors import TransformerRegressor
from ...models.subject import NotApplicable, Regressor
from ..measure import Measure, Status, missing
from ..statistics.bootstrap import t_interval
from .comparison import model_behaviour
from .sensitivity import LOSS, agreement
from .weight_measures import DISTANCE, path_losses
from .weights import PATH, align, barrier, live_entries, products, tensor_distance

PATH_TASKS = 2_000
UNITS = {"cosine": "cosine", "prediction_difference": "label", "model_difference": "label / input"}
CEILING = "a ceiling for the comparisons with twins and rivals, not a measure with a null"


def between_seeds(subjects: Sequence[Regressor], tasks: Batch, batch_size: int) -> dict[str, Measure]:
    """Each seed against the next one around the circle, so that every seed counts twice and no pair more than once.

    The points are the pairs; neighbouring pairs share a seed, so their t-interval is somewhat too narrow, as said.
    """
    behaviours = [model_behaviour(subject, tasks, batch_size) for subject in subjects]
    n = len(subjects)
    pairs = [(i, (i + 1) % n) for i in range(n)] if n > 2 else [(0, 1)]
    compared = [agreement(behaviours[a], behaviours[b]) for a, b in pairs]
    measures = {
        f"{key}_other_seed": _over_pairs(np.array([float(c[key].mean()) for c in compared]), unit)
        for key, unit in UNITS.items()
    }
    return measures | _weights_between([(subjects[a], subjects[b]) for a, b in pairs], tasks[:PATH_TASKS], batch_size)


def _over_pairs(points: np.ndarray, unit: str, axes: tuple[str, ...] = ()) -> Measure:
    return Measure(
        np.asarray(points.mean(axis=0)),
        unit,
        t_interval(points),
        replicate="pair of seeds",
        n=len(points),
        axes=axes,
        coords={"t": PATH} if axes else {},
        no_nulls=CEILING,
        points=points,
        message="pairs share seeds: the interval is somewhat too narrow",
    )


def _weights_between(pairs: list[tuple[Regressor, Regressor]], tasks: Batch, batch_size: int) -> dict[str, Measure]:
    """Path and distance from one trained seed to another, both aligned."""
    losses, distances = [], []
    for first, second in pairs:
        a, b = products(first), products(second)
        if isinstance(a, NotApplicable) or isinstance(b, NotApplicable) or not isinstance(first, TransformerRegressor):
            return _none("not applicable", next(w.reason for w in (a, b) if isinstance(w, NotApplicable)))
        start, end = align(a), align(b)
        if isinstance(start, NotApplicable) or isinstance(end, NotApplicable):
            return _none("undefined", next(w.reason for w in (start, end) if isinstance(w, NotApplicable)))
        losses.append(path_losses(start, end, first, tasks, batch_size).mean(axis=0))
        distances.append(tensor_distance(a, b, live_entries(first.config)))
    points = np.stack(losses)
    return {
        "loss_path_other_seed": _over_pairs(points, LOSS, ("t",)),
        "barrier_other_seed": _over_pairs(barrier(points), LOSS),
        "weight_distance_other_seed": _over_pairs(np.array(distances), DISTANCE),
    }


def _none(status: Status, reason: str) -> dict[str, Measure]:
    units = {"loss_path_other_seed": LOSS, "barrier_other_seed": LOSS, "weight_distance_other_seed": DISTANCE}
    return {name: missing(unit, status, reason) for name, unit in units.items()}
