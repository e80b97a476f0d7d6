"""Where a curve over training steps changes its course, on an axis of log steps.

Checkpoints that follow each other resemble each other: a curve that wanders without any event goes up and down in long
runs, which a test for independent points takes for changes. So the null here is a curve that wanders. Between two
measured steps it moves by drift × gap + noise, where the gap is that of log10(step + 1), and the noise is normal with a
standard deviation in proportion to gap^H. H = 1/2 is a random walk in log steps and H = 0 a curve that varies around a
line; what lies between resembles an autoregression. H is the value, of a few, under which the moves are likeliest.

A change is a window of neighbouring moves, of one or more, in which the drift is another. The statistic is the largest
share, over all windows, of the moves' variance that one window explains: circular binary segmentation (Olshen et al.
2004, Biostatistics 5) of the moves, in the place of the points. It depends neither on the drift nor on the size of the
noise, so its null is found by drawing curves from the null and treating each as the curve was, with an H of its own.
Where what the window leaves of the moves is correlated from one to the next, the drawn moves are, too. A window that
passes divides the curve into three, each of which is looked at alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ...data.recipe import named_seed

FEWEST_STEPS = 8
"""Measured steps from which on a change can be told: of seven moves, six are compared with one."""
LEVEL = 0.05
DRAWS = 999
"""Curves of the null; the smallest p is 1 / 1,000."""
HURST = (0.0, 0.125, 0.25, 0.375, 0.5)
"""The exponents H that are tried."""
_FLAT = 1e-12


@dataclass(frozen=True)
class ChangePoint:
    """One change, between two measured steps.

    after, before:  it lies between these steps; of a turn they are the neighbours of the step `at`
    at:             of a turn, the measured step at which the course changes; None: a jump between `after` and `before`
    change:         of a jump, the move; of a turn, the change of the slope over log10 steps
    p:              of the window of moves that it bounds
    """

    after: int
    before: int
    at: int | None
    change: float
    p: float

    @property
    def kind(self) -> str:
        return "jump" if self.at is None else "turn"


class Window(NamedTuple):
    """Moves from `first` up to, and without, `last`; the share of the variance that its own drift explains."""

    first: int
    last: int
    share: float


def change_points(
    steps: Int[np.ndarray, " step"], values: Float[np.ndarray, " step"], seed: int, draws: int = DRAWS
) -> list[ChangePoint] | None:
    """The changes of one curve by step; None where fewer than `FEWEST_STEPS` steps have a number.

    steps:   rising, from 0 on
    values:  of each step; steps without a number do not count
    seed:    of the null's curves
    """
    known = np.isfinite(values)
    steps, values = steps[known], values[known]
    if len(steps) < FEWEST_STEPS:
        return None
    rng = np.random.default_rng(named_seed(seed, "change points"))
    found: list[ChangePoint] = []
    _search(steps, values, rng, draws, found)
    return sorted(found, key=lambda change: (change.after, change.before))


def _search(
    steps: np.ndarray, values: np.ndarray, rng: np.random.Generator, draws: int, found: list[ChangePoint]
) -> None:
    """Add the changes of a stretch of the curve."""
    if len(steps) < FEWEST_STEPS:
        return
    gaps, moves = np.diff(np.log10(steps + 1.0)), np.diff(values)
    if np.abs(_without_drift(moves[None], gaps)).max() <= _FLAT * np.abs(values).max():  # a straight line
        return
    window = best_windows(moves[None], gaps)[0]
    p = _p_of(window, moves, gaps, rng, draws)
    if p > LEVEL:
        return
    first, last = window.first, window.last
    found += _changes(steps, values, first, last, p)
    for start, end in ((0, first), (first, last), (last, len(moves))):
        _search(steps[start : end + 1], values[start : end + 1], rng, draws, found)


def _changes(steps: np.ndarray, values: np.ndarray, first: int, last: int, p: float) -> list[ChangePoint]:
    """What a window of moves says of the curve: one jump, or a turn at each end that is not an end of the curve."""
    if last - first == 1:
        return [ChangePoint(int(steps[first]), int(steps[last]), None, float(values[last] - values[first]), p)]
    places = np.log10(steps + 1.0)
    slopes = [
        (values[end] - values[start]) / (places[end] - places[start]) if end > start else np.nan
        for start, end in ((0, first), (first, last), (last, len(steps) - 1))
    ]
    knots = [(first, slopes[1] - slopes[0]), (last, slopes[2] - slopes[1])]
    return [
        ChangePoint(int(steps[knot - 1]), int(steps[knot + 1]), int(steps[knot]), float(change), p)
        for knot, change in knots
        if 0 < knot < len(steps) - 1
    ]


# -- the test ----------------------------------------------------------------------------------------------------------


def _p_of(window: Window, moves: np.ndarray, gaps: np.ndarray, rng: np.random.Generator, draws: int) -> float:
    """(1 + curves of the null in which a window explains as much) / (draws + 1)."""
    h = HURST[int(likeliest(moves[None], gaps)[0])]
    drawn = _correlated(rng.standard_normal((draws, len(moves))), _resemblance(window, moves, gaps, h)) * gaps**h
    reached = sum(one.share >= window.share for one in best_windows(drawn, gaps))
    return (1 + reached) / (draws + 1)


def _resemblance(window: Window, moves: np.ndarray, gaps: np.ndarray, h: float) -> float:
    """The correlation of neighbouring moves once the window has a drift of its own, where it is above 0. Of few moves
    the sample's is too low (Marriott & Pope 1954, Biometrika 41), which is made good for two fitted drifts.
    """
    z, x = moves / gaps**h, gaps ** (1 - h)
    inside = np.zeros(len(x))
    inside[window.first : window.last] = x[window.first : window.last]
    design = np.stack([x, inside], axis=1)
    left = z - design @ np.linalg.lstsq(design, z, rcond=None)[0]
    rho, n = left[1:] @ left[:-1] / max(left @ left, _FLAT), len(left)
    return float(np.clip((n * rho + 1) / (n - 4), 0.0, 0.9))


def _correlated(noise: Float[np.ndarray, "draw move"], rho: float) -> Float[np.ndarray, "draw move"]:
    """Each move resembles the one before by `rho`, with a variance of 1."""
    if rho == 0:
        return noise
    moves = noise.copy()
    for i in range(1, moves.shape[1]):
        moves[:, i] = rho * moves[:, i - 1] + np.sqrt(1 - rho**2) * noise[:, i]
    return moves


def likeliest(moves: Float[np.ndarray, "curve move"], gaps: Float[np.ndarray, " move"]) -> Int[np.ndarray, " curve"]:
    """For each curve, the place in `HURST` of the H under which its moves are likeliest, with one drift."""
    n = len(gaps)
    scores = []
    for h in HURST:
        left = _without_drift(moves / gaps**h, gaps ** (1 - h))
        variance = np.maximum((left**2).mean(axis=1), np.finfo(float).tiny)
        scores.append(-0.5 * n * np.log(variance) - h * np.log(gaps).sum())
    return np.argmax(scores, axis=0)


def _without_drift(
    z: Float[np.ndarray, "curve move"], x: Float[np.ndarray, " move"]
) -> Float[np.ndarray, "curve move"]:
    return z - np.outer(z @ x / (x @ x), x)


def best_windows(moves: Float[np.ndarray, "curve move"], gaps: Float[np.ndarray, " move"]) -> list[Window]:
    """For each curve, the window of moves whose own drift explains most."""
    chosen = likeliest(moves, gaps)
    found: list[Window] = [Window(0, 1, 0.0)] * len(moves)
    for place, h in enumerate(HURST):
        curves = np.flatnonzero(chosen == place)
        if len(curves):
            windows = _windows(moves[curves] / gaps**h, gaps ** (1 - h))
            for curve, window in zip(curves, windows, strict=True):
                found[curve] = window
    return found


def _windows(z: Float[np.ndarray, "curve move"], x: Float[np.ndarray, " move"]) -> list[Window]:
    """The same of moves whose noise has the same size everywhere, with x for the drift.

    With r, what one drift leaves of z, a drift of a window's own takes (Σ_W x r)² / (A_W (1 - A_W / A)) off Σ r², where
    A is Σ x², and A_W the window's part of it.
    """
    n = len(x)
    left = _without_drift(z, x)
    total = np.maximum((left**2).sum(axis=1), np.finfo(float).tiny)
    products = np.concatenate([np.zeros((len(z), 1)), np.cumsum(left * x, axis=1)], axis=1)
    weights = np.concatenate([[0.0], np.cumsum(x**2)])
    best, first, last = np.zeros(len(z)), np.zeros(len(z), dtype=int), np.ones(len(z), dtype=int)
    for length in range(1, n):
        inner = weights[length:] - weights[:-length]
        outer = np.maximum(1 - inner / weights[-1], _FLAT)
        taken = (products[:, length:] - products[:, :-length]) ** 2 / (inner * outer) / total[:, None]
        start = taken.argmax(axis=1)
        share = taken[np.arange(len(z)), start]
        better = share > best
        best, first = np.where(better, share, best), np.where(better, start, first)
        last = np.where(better, start + length, last)
    return [Window(*one) for one in zip(first.tolist(), last.tolist(), best.tolist(), strict=True)]
