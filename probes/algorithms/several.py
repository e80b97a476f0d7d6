"""Fitting two settings of an algorithm at once, each on a scale of its own, with their intervals over tasks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.special import expit, logit
from torch import Tensor

from ..statistics.bootstrap import sandwich_interval
from .fitting import FLAT, Fit

STARTS = 2  # of the search: the best points of the grid
STEP = 1e-4  # of the numerical derivatives, on the scale of the setting
ROUGHLY: dict[str, Any] = {"xatol": 1e-3, "fatol": 0.0, "maxiter": 60}
NEWTON = 4  # steps at most, from there to the last digits
Objective = Callable[[float, Float[Tensor, " point"]], Float[Tensor, "point task"]]
"""One value of the first setting and several of the second -> each task's own distance."""
Place = Float[np.ndarray, " setting"]


@dataclass(frozen=True)
class Free:
    """A free setting: its range, how many points of it are tried first, and whether it is a share between 0 and 1.

    power:  of the unit that the range is given in
    """

    name: str
    low: float
    high: float
    points: int
    share: bool = False
    power: int = 0

    def times(self, unit: float) -> Free:
        """With the range in numbers, for data of this unit; as it is where there is none."""
        factor = unit**self.power if unit > 0 else 1.0
        return replace(self, low=self.low * factor, high=self.high * factor)

    def value(self, place: float) -> float:
        """At a place on the scale: logarithmic, or logistic for a share."""
        return float(expit(place) if self.share else np.exp(np.clip(place, -700, 700)))

    @property
    def places(self) -> Float[np.ndarray, " point"]:
        low, high = (logit(self.low), logit(self.high)) if self.share else (np.log(self.low), np.log(self.high))
        return np.linspace(float(low), float(high), self.points)


def fit_two(objective: Objective, first: Free, second: Free) -> dict[str, Fit]:
    """The settings at which the mean over tasks of `objective` is least, by name.

    A grid over both finds the valleys. From its best points Nelder and Mead's method goes down, which also finds
    narrow, bent valleys; Newton's finds the last digits. NaN where the objective is finite nowhere.
    """
    free = (first, second)
    low, high = (np.array([one.places[end] for one in free]) for end in (0, -1))

    def distances(place: Place) -> Float[Tensor, " task"]:
        values = [one.value(float(at)) for one, at in zip(free, place, strict=True)]
        return objective(values[0], torch.tensor(values[1:], dtype=torch.float64))[0]

    def mean(place: Place) -> float:
        inside = bool((low <= place).all() and (place <= high).all())
        return _comparable(float(distances(place).mean())) if inside else sys.float_info.max

    starts, least = _best_of_grid(objective, first, second)
    if least == sys.float_info.max:
        nothing = Fit(float("nan"), float("nan"), float("nan"), len(distances(low)))
        return {one.name: nothing for one in free}
    best = _polished(mean, min((_down(mean, start, free) for start in starts), key=mean))
    return _with_intervals(distances, mean, best, free)


def _comparable(value: float) -> float:
    """The largest number for what is not finite."""
    return value if np.isfinite(value) else sys.float_info.max


def _best_of_grid(objective: Objective, first: Free, second: Free) -> tuple[list[Place], float]:
    """The best points of the grid, and the mean at the best of them."""
    seconds = torch.tensor([second.value(float(at)) for at in second.places], dtype=torch.float64)
    rows = [objective(first.value(float(at)), seconds).mean(dim=1).numpy() for at in first.places]
    means = np.nan_to_num(np.stack(rows), nan=np.inf, posinf=np.inf)
    best = [divmod(int(place), second.points) for place in np.argsort(means, axis=None, kind="stable")[:STARTS]]
    places = [np.array([first.places[i], second.places[j]]) for i, j in best]
    return places, _comparable(float(means.min()))


def _down(mean: Callable[[Place], float], start: Place, free: Sequence[Free]) -> Place:
    """From a point of the grid towards the floor of its valley. The first simplex is half a cell wide."""
    simplex = np.tile(start, (len(free) + 1, 1))
    for axis, one in enumerate(free):
        cell = one.places[1] - one.places[0]
        simplex[axis + 1, axis] += cell / 2 if start[axis] < one.places[-1] else -cell / 2
    result: Any = minimize(mean, start, method="Nelder-Mead", options={**ROUGHLY, "initial_simplex": simplex})
    return np.asarray(result.x)


def _polished(mean: Callable[[Place], float], found: Place) -> Place:
    """Newton's steps, as long as they go down."""
    least = mean(found)
    for _ in range(NEWTON):
        slope, curvature = _derivatives(mean, found)
        try:
            there = found - np.linalg.solve(curvature, slope)
        except np.linalg.LinAlgError:
            break
        value = mean(there) if np.isfinite(there).all() else np.inf
        if not value < least:
            break
        found, least = there, value
    return found


def _derivatives(mean: Callable[[Place], float], at: Place) -> tuple[Place, Float[np.ndarray, "setting setting"]]:
    """Slope and curvature, by central differences."""
    steps = STEP * np.eye(len(at))
    ends = np.array([[mean(at + h), mean(at - h)] for h in steps])
    with np.errstate(over="ignore"):  # beside an end of the range
        slope, curvature = (ends[:, 0] - ends[:, 1]) / (2 * STEP), np.diag(ends.sum(axis=1) - 2 * mean(at)) / STEP**2
    corners = [mean(at + i * steps[0] + j * steps[1]) for i, j in ((1, 1), (-1, -1), (1, -1), (-1, 1))]
    curvature[0, 1] = curvature[1, 0] = (corners[0] + corners[1] - corners[2] - corners[3]) / (4 * STEP**2)
    return slope, curvature


def _with_intervals(
    distances: Callable[[Place], Float[Tensor, " task"]],
    mean: Callable[[Place], float],
    best: Place,
    free: Sequence[Free],
) -> dict[str, Fit]:
    """Intervals are symmetric on the settings' scales."""
    steps = STEP * np.eye(len(free))
    scores = torch.stack([(distances(best + h) - distances(best - h)) / (2 * STEP) for h in steps], dim=1).numpy()
    _, curvature = _derivatives(lambda place: float(distances(place).mean()), best)
    low, high = sandwich_interval(best, scores, curvature)
    return {
        one.name: Fit(
            *(one.value(float(place[axis])) for place in (best, low, high)),
            n=len(scores),
            at_end=_levels_off(mean, one, axis, best),
        )
        for axis, one in enumerate(free)
    }


def _levels_off(mean: Callable[[Place], float], one: Free, axis: int, best: Place) -> bool:
    """Whether an end of the setting's range is as good, the other setting as it is."""
    least, here = mean(best) * (1 + FLAT), np.arange(len(best)) == axis
    return any(mean(np.where(here, end, best)) <= least for end in (one.places[0], one.places[-1]))
