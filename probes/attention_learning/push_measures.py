"""Does attention go where it is pushed? The push at one checkpoint beside the change of attention until the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from ..measure import Measure, missing, null_mean
from ..statistics.bootstrap import t_interval
from ..statistics.sample_measures import PerTask, task_measures
from .agreement import Agreements, agreements, shuffles
from .names import ATTENTION_ARRAY, INPUTS, ONE_CHECKPOINT, PUSH_ARRAY
from .training_runs import Run, not_comparable

STEP, SHARE = "step", "share"
PUSH, HEAD_PUSH = "agreement_push", "head_agreement_push"
_MESSAGE = (
    "how often, where the push at a step is largest, attention rises most until the next step (among the largest 5 %"
    " of its changes)"
)
_BETWEEN_HEADS = "; mean over heads"


def push_measures(runs: Sequence[Run], seed: int) -> dict[str, Measure]:
    """Of all runs together, at each step but the last; of a single run of a language model for each head, too."""
    trained = [run for run in runs if len(run.steps) > 1]
    if not trained:
        return {PUSH: missing(SHARE, "not applicable", ONE_CHECKPOINT[PUSH])}
    checkpoints = [checkpoint for run in trained for checkpoint in run.checkpoints]
    why = not_comparable(checkpoints, ATTENTION_ARRAY) or not_comparable(checkpoints, PUSH_ARRAY)
    if why is not None:
        return {PUSH: missing(SHARE, "not applicable", why)}
    steps = tuple(sorted({step for run in trained for step in run.steps[:-1]}))
    each = [_along(run, steps) for run in trained]
    with_heads = each[0][0].samples.ndim > 1
    if len(trained) > 1:
        return {PUSH: _over_runs([_whole(run) for run in each], steps, with_heads)}
    measures = {PUSH: _of_run(_whole(each[0]), steps, (), seed, with_heads)}
    if with_heads:
        measures[HEAD_PUSH] = _of_run(each[0], steps, ("layer", "head"), seed, with_heads=False)
    return measures


def _along(run: Run, steps: Sequence[int]) -> list[Agreements]:
    """At each of these steps; NaN at one after which the run has no checkpoint."""
    found = {}
    for (step, before), (_, after) in pairwise(zip(run.steps, run.checkpoints, strict=True)):
        attention = before.arrays[ATTENTION_ARRAY]
        order = shuffles(len(attention), attention.shape[-1], int(before.recipes[INPUTS].get("seed") or 0))
        found[step] = agreements(before.arrays[PUSH_ARRAY], after.arrays[ATTENTION_ARRAY] - attention, order)
    like = next(iter(found.values()))
    nothing = Agreements(
        np.full_like(like.samples, np.nan), {n: np.full_like(d, np.nan) for n, d in like.drawn.items()}
    )
    return [found.get(step, nothing) for step in steps]


def _whole(steps: Sequence[Agreements]) -> list[Agreements]:
    """Means over heads, where there are heads."""
    return [Agreements(_over_heads(of.samples, 1), {n: _over_heads(d, 2) for n, d in of.drawn.items()}) for of in steps]


def _over_heads(samples: np.ndarray, kept: int) -> np.ndarray:
    return null_mean(np.moveaxis(samples.reshape(*samples.shape[:kept], -1), -1, 0))


def _of_run(
    found: Sequence[Agreements], steps: tuple[int, ...], axes: tuple[str, ...], seed: int, with_heads: bool
) -> Measure:
    """One run: the interval is over sequences."""
    samples = np.stack([of.samples for of in found], axis=1)
    nulls = {name: np.stack([of.nulls[name] for of in found], axis=1) for name in found[0].nulls}
    metric = PerTask(
        samples, SHARE, (STEP, *axes), {STEP: steps}, nulls, message=_MESSAGE + _BETWEEN_HEADS * with_heads,
        replicate="sequence", no_number="NaN where no query attends to two sources",
    )  # fmt: skip
    return task_measures({PUSH: metric}, seed)[PUSH]


def _over_runs(each: Sequence[Sequence[Agreements]], steps: tuple[int, ...], with_heads: bool) -> Measure:
    """Several runs: the interval is over seeds."""
    points: Float[np.ndarray, "run step"] = np.array([[of.samples.mean() for of in run] for run in each])
    drawn = {
        name: np.array([[of.nulls[name] for of in run] for run in each]).mean(axis=0).T for name in each[0][0].nulls
    }
    low, high = t_interval(points)
    measure = Measure(
        points.mean(axis=0), SHARE, (low, high), "seed", len(each), (STEP,), {STEP: steps}, drawn, points=points,
        message=_MESSAGE + _BETWEEN_HEADS * with_heads,
    )  # fmt: skip
    if np.isnan(points).any():
        return replace(measure, message=f"{measure.message}; NaN at steps that not every seed has")
    return measure
