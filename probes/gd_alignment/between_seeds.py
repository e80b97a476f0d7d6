"""Between the seeds of one recipe: how alike two trained models are is the ceiling for any comparison with a third."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...models.subject import NotApplicable
from ..comparing.behaviour import agreement
from ..measure import Measure, Status, missing
from ..regression.products import WeightProducts, live_entries
from ..regression.sensitivity import LOSS
from ..statistics.bootstrap import t_interval
from .names import PATH_TASKS
from .path_measures import POSITION
from .setup import Setup
from .weight_comparison import path_losses, signed_products
from .weight_measures import DISTANCE
from .weights import PATH, align, barrier, tensor_distance

UNITS = {"cosine": "cosine", "prediction_difference": "label", "model_difference": "label / input"}
WEIGHT_UNITS = {"loss_path": LOSS, "barrier": LOSS, "weight_distance": DISTANCE}
CEILING = "this is the ceiling of the comparisons with candidates, and has no null"
SHARED_SEEDS = "pairs share seeds: the interval is somewhat too narrow"


def between_seeds(setups: Sequence[Setup]) -> dict[str, Measure]:
    """`<metric>_between_seeds`, one setup a seed, all on the same tasks: each seed beside the next around the circle.

    Every seed then counts twice and no pair more than once. The points are the pairs; neighbouring pairs share a seed,
    so their t-interval is somewhat too narrow, as the message says.
    """
    n = len(setups)
    pairs = [(i, (i + 1) % n) for i in range(n)] if n > 2 else [(0, 1)]
    behaviours = [one.subject_behaviour(one.splits.evaluation) for one in setups]
    compared = [agreement(behaviours[a], behaviours[b]) for a, b in pairs]
    measures = {
        f"{metric}_between_seeds": _over_pairs(np.array([float(found[metric].mean()) for found in compared]), unit)
        for metric, unit in UNITS.items()
    }
    return measures | _weights_between([(setups[a], setups[b]) for a, b in pairs])


def _over_pairs(points: np.ndarray, unit: str, axes: tuple[str, ...] = ()) -> Measure:
    return Measure(
        np.asarray(points.mean(axis=0)),
        unit,
        t_interval(points),
        replicate="pair of seeds",
        n=len(points),
        axes=axes,
        coords={POSITION: PATH} if axes else {},
        no_nulls=CEILING,
        points=points,
        message=SHARED_SEEDS,
    )


def _weights_between(pairs: Sequence[tuple[Setup, Setup]]) -> dict[str, Measure]:
    """Path and distance from one trained seed to another, both aligned."""
    losses, distances = [], []
    for first, second in pairs:
        start, end = signed_products(first), signed_products(second)
        if isinstance(start, NotApplicable) or isinstance(end, NotApplicable):
            return _none("not applicable", _reason(start, end))
        start_aligned, end_aligned = align(start), align(end)
        if isinstance(start_aligned, NotApplicable) or isinstance(end_aligned, NotApplicable):
            return _none("undefined", _reason(start_aligned, end_aligned))
        tasks = first.splits.evaluation[:PATH_TASKS]
        losses.append(path_losses(first, start_aligned, end_aligned, tasks).mean(axis=0))
        distances.append(tensor_distance(start, end, live_entries(start.config)))
    points = np.stack(losses)
    return {
        "loss_path_between_seeds": _over_pairs(points, LOSS, (POSITION,)),
        "barrier_between_seeds": _over_pairs(barrier(points), LOSS),
        "weight_distance_between_seeds": _over_pairs(np.array(distances), DISTANCE),
    }


def _reason(*weights: WeightProducts | NotApplicable) -> str:
    return next(held.reason for held in weights if isinstance(held, NotApplicable))


def _none(status: Status, reason: str) -> dict[str, Measure]:
    return {f"{metric}_between_seeds": missing(unit, status, reason) for metric, unit in WEIGHT_UNITS.items()}
