"""Fitting two settings of an algorithm at once, each on a scale of its own, with their intervals over tasks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logit
from torch import Tensor

from ..statistics.bootstrap import sandwich_interval
from .fitting import FLAT, Fit, exp_within

STARTS = 2  # of the search: the best points of the grid
STEP = 1e-4  # of the numerical derivatives, on the scale of the setting
ROUGHLY: dict[str, Any] = {"xatol": 1e-3, "fatol": 0.0, "maxiter": 60}
ROUNDS = 5  # in which the second setting is sought, each between the neighbours of the best point so far
NEAR = 0.03  # so far from the best place, Newton's steps take over
NEWTON = 4  # steps at most, from there to the last digits
Objective = Callable[[float, Float[Tensor, " point"]], Float[Tensor, "point task"]]
"""One value of the first setting and several of the second -> each task's own distance."""
OfSecond = Callable[[Tensor], Float[Tensor, "point task"]]
"""What is left of the objective where the first setting is chosen."""
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
        return float(expit(place)) if self.share else exp_within(place)

    @property
    def places(self) -> Float[np.ndarray, " point"]:
        low, high = (logit(self.low), logit(self.high)) if self.share else (np.log(self.low), np.log(self.high))
        return np.linspace(float(low), float(high), self.points)


def fit_two(objective: Objective, first: Free, second: Free) -> dict[str, Fit]:
    """The settings at which the mean over tasks of `objective` is least, by name.

    A grid over both finds the valleys. From its best points Nelder and Mead's method goes down, which also finds
    narrow, bent valleys; Newton's finds the last digits. NaN where the objective is finite nowhere.
    """
    sought = _Sought(objective, first, second)
    starts = sought.best_of_grid()
    return sought.settled([sought.down(start) for start in starts])


def fit_nested(at: Callable[[float], OfSecond], first: Free, second: Free) -> dict[str, Fit]:
    """The same where the first setting costs most of the work and the second next to nothing: it is found at its best
    for every value of the first that is tried.
    """
    kept = lru_cache(maxsize=8)(at)  # derivatives take few values of the first setting, each several times
    sought = _Sought(lambda value, seconds: kept(value)(seconds), first, second)
    profile = [sought.best_second(place, ROUNDS // 2)[0] for place in first.places]
    beside = [np.inf, *profile, np.inf]
    valleys = [i for i in range(first.points) if beside[i] >= beside[i + 1] <= beside[i + 2]]
    best = sorted(valleys, key=lambda i: profile[i])[:STARTS]
    return sought.settled([place for i in best for place in sought.along_valley(i)])


@dataclass(frozen=True)
class _Sought:
    """Two settings, and the mean over tasks that is least at the best of them."""

    objective: Objective
    first: Free
    second: Free

    @property
    def free(self) -> tuple[Free, Free]:
        return self.first, self.second

    def distances(self, place: Place) -> Float[Tensor, " task"]:
        values = [one.value(float(at)) for one, at in zip(self.free, place, strict=True)]
        return self.objective(values[0], torch.tensor(values[1:], dtype=torch.float64))[0]

    def mean(self, place: Place) -> float:
        inside = all(one.places[0] <= at <= one.places[-1] for one, at in zip(self.free, place, strict=True))
        return _comparable(float(self.distances(place).mean())) if inside else sys.float_info.max

    def means(self, first: float, seconds: Float[np.ndarray, " point"]) -> Float[np.ndarray, " point"]:
        """At one place of the first setting and several of the second."""
        values = torch.tensor([self.second.value(float(at)) for at in seconds], dtype=torch.float64)
        found = self.objective(self.first.value(float(first)), values).mean(dim=1).double().numpy()
        return np.where(np.isfinite(found), found, sys.float_info.max)

    def best_of_grid(self) -> list[Place]:
        """The best points of the grid."""
        means = np.stack([self.means(at, self.second.places) for at in self.first.places])
        best = [divmod(int(place), self.second.points) for place in np.argsort(means, axis=None, kind="stable")]
        return [np.array([self.first.places[i], self.second.places[j]]) for i, j in best[:STARTS]]

    def down(self, start: Place) -> Place:
        """From a point of the grid towards the floor of its valley. The first simplex is half a cell wide."""
        simplex = np.tile(start, (len(self.free) + 1, 1))
        for axis, one in enumerate(self.free):
            cell = one.places[1] - one.places[0]
            simplex[axis + 1, axis] += cell / 2 if start[axis] < one.places[-1] else -cell / 2
        result: Any = minimize(self.mean, start, method="Nelder-Mead", options={**ROUGHLY, "initial_simplex": simplex})
        return np.asarray(result.x)

    def best_second(self, first: float, rounds: int = ROUNDS) -> tuple[float, float]:
        """The least mean at one place of the first setting, and where."""
        places, found = self.second.places, (sys.float_info.max, np.nan)
        for _ in range(rounds):
            means = self.means(first, places)
            best = int(means.argmin())
            low, high = places[max(best - 1, 0)], places[min(best + 1, len(places) - 1)]
            found = float(means[best]), float(places[best])
            places = np.linspace(low, high, self.second.points)
        return found

    def along_valley(self, number: int) -> list[Place]:
        """The best place between the neighbours of a point of the first setting; and that point, if it is an end."""
        places = self.first.places
        low, high = max(number - 1, 0), min(number + 1, len(places) - 1)
        result: Any = minimize_scalar(
            lambda at: self.best_second(at)[0],
            bounds=(places[low], places[high]),
            method="bounded",
            options={"xatol": NEAR},
        )
        found = [float(result.x), *([float(places[number])] if number in (low, high) else [])]
        return [np.array([at, self.best_second(at)[1]]) for at in found]

    def settled(self, found: Sequence[Place]) -> dict[str, Fit]:
        """The best of these to the last digits, with intervals."""
        start = min(found, key=self.mean)
        if self.mean(start) == sys.float_info.max:
            nothing = Fit(float("nan"), float("nan"), float("nan"), len(self.distances(start)))
            return {one.name: nothing for one in self.free}
        return _with_intervals(self.distances, self.mean, _polished(self.mean, start), self.free)


def _comparable(value: float) -> float:
    """The largest number for what is not finite."""
    return value if np.isfinite(value) else sys.float_info.max


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
