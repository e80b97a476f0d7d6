"""Fitting one free, positive setting of an algorithm on a logarithmic scale, with its interval over tasks."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize_scalar

from ..statistics.bootstrap import sandwich_interval

STEP = 1e-4  # of the numerical derivatives, in the logarithm of the setting
GRID = 61  # points of the scan: a loss over a setting may have several valleys
WIDER = 1e6
"""By so much a range is widened at an end where the least value lies."""
FLAT = 1e-9
"""Values that differ by less than this share are the same: a loss that levels off has its least value nowhere."""


@dataclass(frozen=True)
class Fit:
    """A fitted positive setting with its 95 % interval over tuning tasks.

    n:       the number of those tasks; 0 for a setting that was given
    at_end:  whether the setting lies at an end of the widened range: a better one may lie beyond
    """

    value: float
    low: float
    high: float
    n: int
    at_end: bool = False

    @property
    def given(self) -> bool:
        return self.n == 0

    def times(self, factor: float) -> Fit:
        """The same setting in a unit larger by 1 / `factor`."""
        return replace(self, value=self.value * factor, low=self.low * factor, high=self.high * factor)


def given(value: float) -> Fit:
    """A setting that nobody fitted: no interval, no tasks behind it."""
    return Fit(value, float("nan"), float("nan"), n=0)


def mean_fit(fits: Sequence[Fit]) -> Fit:
    """Over folds, each fitted on tasks of its own. No interval where one is as wide as numbers go."""
    if len(fits) == 1:
        return fits[0]
    mean = sum(fit.value for fit in fits) / len(fits)
    # folds are independent, so the squared half-widths of a mean of two add up to a quarter each
    half = math.hypot(*((fit.high - fit.low) / 2 for fit in fits)) / len(fits)
    half = half if math.isfinite(half) else math.nan
    return Fit(mean, mean - half, mean + half, sum(fit.n for fit in fits), any(fit.at_end for fit in fits))


Objective = Callable[[float], Float[np.ndarray, " task"]]


def exp_within(logarithm: float) -> float:
    """Its exponential, of a size that a float can have."""
    return float(np.exp(np.clip(logarithm, -700, 700)))


def scan_points(low: float, high: float) -> Float[np.ndarray, " point"]:
    """Logarithms of the settings of the scan."""
    return np.linspace(np.log(low), np.log(high), GRID)


def fit_log_scale(
    objective: Objective, low: float, high: float, scanned: Float[np.ndarray, " point"] | None = None
) -> Fit:
    """The setting between `low` and `high` at which the mean over tasks of `objective` is least.

    Where the least is at an end, the range is widened there by a factor of `WIDER`, once. A coarse scan finds the
    valley, Brent's bounded method its floor, one Newton step the last digits. The interval is that of an M-estimator.
    NaN where the objective is finite for no setting.

    scanned:  means at `scan_points`, where they are known
    """

    def mean(log_setting: float) -> float:
        with np.errstate(over="ignore"):  # what is too large to be added up is not finite
            return _comparable(float(objective(float(np.exp(log_setting))).mean()))

    points = scan_points(low, high)
    there = (mean(float(x)) for x in points) if scanned is None else map(_comparable, scanned)
    grid, values = _widened(mean, points, np.array(list(there)))
    best = int(np.argmin(values))
    if values[best] == sys.float_info.max:
        nan = float("nan")
        return Fit(nan, nan, nan, n=len(objective(low)))
    bounds = (float(grid[max(best - 1, 0)]), float(grid[min(best + 1, len(grid) - 1)]))
    result: Any = minimize_scalar(mean, bounds=bounds, method="bounded", options={"xatol": 1e-10})
    found = _polished(mean, float(result.x))
    return replace(_with_interval(objective, found), at_end=_at_end(found, grid, values))


def _comparable(value: float) -> float:
    """The largest number for what is not finite."""
    return value if np.isfinite(value) else sys.float_info.max


def _widened(mean: Callable[[float], float], grid: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of settings with the means there; beyond an end of the grid, too, where the least mean is that end."""
    best, step = int(np.argmin(values)), grid[1] - grid[0]
    steps = np.arange(1, np.ceil(np.log(WIDER) / step) + 1)
    if best == 0:
        beyond = grid[0] - step * steps[::-1]
        return np.concatenate([beyond, grid]), np.concatenate([[mean(float(x)) for x in beyond], values])
    if best == len(grid) - 1:
        beyond = grid[-1] + step * steps
        return np.concatenate([grid, beyond]), np.concatenate([values, [mean(float(x)) for x in beyond]])
    return grid, values


def _at_end(found: float, grid: np.ndarray, values: np.ndarray) -> bool:
    """Whether an end of the grid is the least, or no worse than the least to all digits that matter."""
    least = values.min() * (1 + FLAT)
    return bool(min(found - grid[0], grid[-1] - found) < STEP or min(values[0], values[-1]) <= least)


def _polished(mean: Callable[[float], float], found: float) -> float:
    """One Newton step: values alone place a minimum to half the digits (1e-8), its slope to nearly all of them.

    Not taken where it would be no small correction: at an end of the range, or where the loss is flat.
    """
    values = {k: mean(found + k * STEP) for k in (-2, -1, 0, 1, 2)}
    slope = (8 * (values[1] - values[-1]) - (values[2] - values[-2])) / (12 * STEP)  # exact to fourth order
    curvature = (values[1] - 2 * values[0] + values[-1]) / STEP**2
    step = slope / curvature if curvature > 0 else np.inf
    return found - step if abs(step) < STEP else found


def _with_interval(objective: Objective, log_setting: float) -> Fit:
    """The interval is symmetric in the logarithm of the setting."""
    below, at, above = (objective(float(np.exp(log_setting + step))) for step in (-STEP, 0.0, STEP))
    scores, curvature = (above - below) / (2 * STEP), ((above - 2 * at + below) / STEP**2).mean()
    ends = sandwich_interval(np.array([log_setting]), scores[:, None], np.array([[curvature]]))
    low, high = (exp_within(float(end[0])) for end in ends)
    return Fit(float(np.exp(log_setting)), low, high, n=len(at))
