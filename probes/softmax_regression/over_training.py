"""What several steps of one training show together: a layer may get better than one gradient step by leaving it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from ..comparing.by_candidate import CANDIDATE
from ..measure import Measure
from ..probe import OverTraining
from .names import GD

FALLS = 0.05
"""A cosine that is so much below its highest value has fallen."""


def over_training(by_step: Mapping[int, Mapping[str, Measure]]) -> OverTraining:
    """A sentence where in some seed the cosine to one gradient step falls while the loss goes on falling."""
    measures = list(by_step.values())
    if not all("loss" in held for held in measures):
        return OverTraining()
    cosines = [_points(held["cosine"].sel(**{CANDIDATE: GD.name})) for held in measures]
    losses = [_points(held["loss_over_gd"]) for held in measures]
    if len({points.shape for points in (*cosines, *losses)}) > 1:
        return OverTraining()  # not every seed has every step: which seed is which is not known here
    return _sentence(tuple(by_step), np.stack(cosines), np.stack(losses))


def _sentence(
    all_steps: tuple[int, ...], cosines: Float[np.ndarray, "step seed"], losses: Float[np.ndarray, "step seed"]
) -> OverTraining:
    steps = np.array(all_steps)
    peaks = np.where(np.isfinite(cosines), cosines, -np.inf).argmax(axis=0)
    left = _leaves(cosines, losses, peaks)
    if not left.any():
        return OverTraining()
    n, seeds = int(left.sum()), np.flatnonzero(left)
    at = [(cosines[peaks[i], i], losses[peaks[i], i], cosines[-1, i], losses[-1, i]) for i in seeds]
    high, before, low, after = (_range([row[k] for row in at]) for k in range(4))
    where = _range(steps[peaks[seeds]].tolist(), "{:.0f}")
    of = f"In {n} of {len(left)} seeds the" if len(left) > 1 else "The"
    return OverTraining(
        sentence=f"{of} cosine to one gradient step falls from {high} (step {where}) to {low} while the loss falls from"
        f" {before} to {after} times that of the step: the better layer is the one that leaves it."
    )


def _points(measure: Measure) -> Float[np.ndarray, " seed"]:
    return np.atleast_1d(measure.values if measure.points is None else measure.points)


def _leaves(
    cosines: Float[np.ndarray, "step seed"], losses: Float[np.ndarray, "step seed"], peaks: np.ndarray
) -> Bool[np.ndarray, " seed"]:
    seeds = np.arange(cosines.shape[1])
    fallen = cosines[-1] < cosines[peaks, seeds] - FALLS
    return fallen & (losses[-1] < losses[peaks, seeds]) & (losses[-1] < 1)


def _range(numbers: list[float], form: str = "{:.2f}") -> str:
    ends = [form.format(number) for number in (min(numbers), max(numbers))]
    return ends[0] if ends[0] == ends[1] else "–".join(ends)
