"""Changes of course: planted ones are found, and curves that wander have none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from mesascope.probes.statistics import change_points as module
from mesascope.probes.statistics.change_points import FEWEST_STEPS, best_windows, change_points, likeliest

SHIPPED = np.array([0, 500, 1000, 1300, 1400, 1450, 1500, 1600, 2000, 4000])
LOG = np.array([0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000])
EVEN = np.arange(0, 20_000, 1000)
GRIDS = {"shipped": SHIPPED, "log": LOG, "even": EVEN}
Draw = Callable[[np.ndarray, np.random.Generator], np.ndarray]
CURVES, DRAWS = 40, 59


def places(steps: np.ndarray) -> np.ndarray:
    return np.log10(steps + 1.0)


def noise(u: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=len(u))


def autoregression(u: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Smooth in log steps: the correlation falls to 1/e over a decade."""
    values = [rng.normal()]
    for gap in np.diff(u):
        kept = np.exp(-gap)
        values.append(kept * values[-1] + np.sqrt(1 - kept**2) * rng.normal())
    return np.array(values)


def from_step_to_step(u: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each checkpoint resembles the last by .8, whatever lies between them."""
    values = [rng.normal()]
    for _ in u[1:]:
        values.append(0.8 * values[-1] + 0.6 * rng.normal())
    return np.array(values)


def random_walk(u: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum(np.sqrt(np.diff(u)) * rng.normal(size=len(u) - 1))])


def drifting(u: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return 2 * u + random_walk(u, rng)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("draw", [noise, autoregression, from_step_to_step, random_walk, drifting])
def test_curves_that_wander_have_no_change(grid: str, draw: Draw, rng: np.random.Generator) -> None:
    """At most 5 % have one: of 40 curves a test at 5 % calls more than 6 in less than 1 of 200 cases."""
    steps = GRIDS[grid]
    found = [change_points(steps, draw(places(steps), rng), i, DRAWS) for i in range(CURVES)]
    assert sum(bool(changes) for changes in found) <= 6


def test_curves_that_go_on_as_they_went_have_few(rng: np.random.Generator) -> None:
    """Moves that resemble the last by .5, as those of a curve with a momentum: the resemblance is estimated, from few
    moves too low, so that more than 5 % are called, but at most a quarter.
    """
    called = 0
    for i in range(CURVES):
        moves = rng.normal(size=len(EVEN))
        for at in range(1, len(moves)):
            moves[at] = 0.5 * moves[at - 1] + np.sqrt(0.75) * moves[at]
        called += bool(change_points(EVEN, np.cumsum(moves), i, DRAWS))
    assert called <= 0.25 * CURVES


@pytest.mark.parametrize("grid", GRIDS)
def test_a_planted_jump_lies_between_the_steps_that_are_named(grid: str, rng: np.random.Generator) -> None:
    steps = GRIDS[grid]
    place = len(steps) // 2
    hits = 0
    for i in range(20):
        values = (np.arange(len(steps)) >= place) + 0.03 * rng.normal(size=len(steps))
        jumps = [c for c in change_points(steps, values, i, DRAWS) or () if c.kind == "jump"]
        hits += [(c.after, c.before) for c in jumps] == [(steps[place - 1], steps[place])]
        assert all(0.7 < c.change < 1.3 for c in jumps)
    assert hits >= 19


@pytest.mark.parametrize("grid", GRIDS)
def test_a_planted_turn_is_found_beside_its_step(grid: str, rng: np.random.Generator) -> None:
    """The slope is 0 up to one of the steps, and from there on the same everywhere in log steps."""
    steps = GRIDS[grid]
    u, place = places(steps), len(steps) // 2
    slope = 1 / (u[-1] - u[place])
    near = 0
    for i in range(20):
        values = slope * np.maximum(u - u[place], 0) + 0.01 * rng.normal(size=len(u))
        changes = change_points(steps, values, i, DRAWS)
        near += bool(changes) and any(c.after <= steps[place] <= c.before and c.change > 0 for c in changes)
    assert near >= 19


def test_a_rise_between_two_flat_stretches_has_two_turns() -> None:
    """Prefix matching of an induction head of the shipped `induction-2layer`, as `mesascope run` measures it."""
    excess = np.array([-0.001, -0.050, -0.028, 0.005, 0.101, 0.316, 0.820, 0.969, 0.985, 0.986])
    changes = change_points(SHIPPED, excess, 0)
    assert changes is not None
    assert [(c.after, c.at, c.before) for c in changes] == [(1300, 1400, 1450), (1450, 1500, 1600)]
    up, down = changes
    assert up.change > 0 > down.change
    assert up.p == down.p < 0.05
    assert up.kind == "turn"


def test_without_noise() -> None:
    u = places(LOG)
    assert change_points(LOG, np.zeros(len(u)), 0) == []
    assert change_points(LOG, 3 - 2 * u, 0) == []
    (jump,) = change_points(LOG, (LOG >= 16) + 0.0, 0) or ()
    assert (jump.after, jump.before, jump.at, jump.change, jump.p) == (8, 16, None, 1.0, 0.001)
    (turn,) = change_points(LOG, np.maximum(u - u[4], 0), 0) or ()
    assert (turn.after, turn.at, turn.before) == (4, 8, 16)
    assert turn.change == pytest.approx(1)


def test_two_jumps_are_both_found() -> None:
    steps = np.arange(0, 30_000, 1000)
    wiggle = 0.01 * np.sin(7.0 * np.arange(len(steps)) ** 2)
    values = (steps >= 8000) * 1.0 + (steps >= 20_000) * 1.0 + wiggle
    assert [(c.after, c.before) for c in change_points(steps, values, 0) or ()] == [(7000, 8000), (19_000, 20_000)]


def test_too_few_steps_cannot_tell() -> None:
    steps = np.arange(FEWEST_STEPS) * 100
    values = (steps >= 300) * 1.0
    assert change_points(steps[:-1], values[:-1], 0) is None
    assert change_points(steps, values, 0) is not None
    values[5] = np.nan  # a step without a number does not count
    assert change_points(steps, values, 0) is None


def test_neither_unit_nor_offset_nor_drift_matters() -> None:
    u = places(LOG)
    values = np.array([0.1, 0.0, 0.2, 0.1, 0.15, 1.1, 1.2, 1.0, 1.15, 1.1, 1.2, 1.1])
    first = change_points(LOG, values, 3)
    assert first
    for other in (1000 * values, values + 5, values + 3 * u):
        again = change_points(LOG, other, 3)
        assert again is not None
        assert [(c.after, c.before, c.p) for c in again] == [(c.after, c.before, c.p) for c in first]
    assert change_points(LOG, values, 3) == first


def test_windows_explain_what_least_squares_says(rng: np.random.Generator) -> None:
    """The best window by fitting each of them, and its share of the variance, at the H that was chosen."""
    gaps = rng.uniform(0.1, 1, size=8)
    for moves in rng.normal(size=(10, 8)):
        (window,) = best_windows(moves[None], gaps)
        h = module.HURST[int(likeliest(moves[None], gaps)[0])]
        z, x = moves / gaps**h, gaps ** (1 - h)
        shares = {}
        for first in range(8):
            for last in range(first + 1, 9):
                if last - first < 8:
                    inside = np.where((np.arange(8) >= first) & (np.arange(8) < last), x, 0.0)
                    shares[first, last] = 1 - left(z, x, inside) / left(z, x)
        best = max(shares.values())
        assert window.share == pytest.approx(best)
        assert shares[window.first, window.last] == pytest.approx(best)


def left(z: np.ndarray, *regressors: np.ndarray) -> float:
    """The sum of squares that a fit leaves."""
    design = np.stack(regressors, axis=1)
    return float(((z - design @ np.linalg.lstsq(design, z, rcond=None)[0]) ** 2).sum())


def test_the_noise_is_told_from_the_walk(rng: np.random.Generator) -> None:
    """Moves that do not depend on the gap, and moves that grow with its root."""
    gaps = 10 ** rng.uniform(-2, 1, size=200)
    for h in (0.0, 0.25, 0.5):
        moves = rng.normal(size=(5, 200)) * gaps**h
        assert np.abs(np.array(module.HURST)[likeliest(moves, gaps)] - h).max() <= 0.125


def test_the_null_is_drawn_with_the_noise_of_the_curve(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a random walk the drawn moves grow with the root of the gap; of noise about a line they do not grow."""
    steps = np.cumsum(np.round(10 ** rng.uniform(0, 3, size=60))).astype(int)
    gaps = np.diff(places(steps))
    drawn: list[np.ndarray] = []

    def noted(moves: np.ndarray, of: np.ndarray) -> list[module.Window]:
        drawn.append(moves)
        return best_windows(moves, of)

    monkeypatch.setattr(module, "best_windows", noted)
    for moves, grows in ((np.sqrt(gaps) * rng.normal(size=59), 0.5), (rng.normal(size=59), 0.0)):
        change_points(steps, np.concatenate([[0.0], np.cumsum(moves)]), 0, draws=400)
        sizes = drawn[1].std(axis=0)
        drawn.clear()
        assert np.polyfit(np.log(gaps), np.log(sizes), 1)[0] == pytest.approx(grows, abs=0.15)
