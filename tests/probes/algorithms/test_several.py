"""Two settings fitted at once: where the least value is, with intervals, and what has none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from mesascope.probes.algorithms.several import Fit, Free, Objective, fit_nested, fit_two
from scipy.special import logit
from torch import Tensor

SCALE, SHARE = Free("scale", 1e-4, 1e4, points=21), Free("share", 0.01, 0.99, points=9, share=True)
OTHER = Free("other", 1e-4, 1e4, points=21)
Finder = Callable[[Objective, Free, Free], dict[str, Fit]]


def nested(objective: Objective, first: Free, second: Free) -> dict[str, Fit]:
    return fit_nested(lambda value: lambda seconds: objective(value, seconds), first, second)


@pytest.fixture(params=[fit_two, nested], ids=["on a grid", "nested"])
def find(request: pytest.FixtureRequest) -> Finder:
    return request.param


def of_logs(distance: Callable[[Tensor, Tensor], Tensor]) -> Objective:
    """An objective of the logarithms of both settings."""
    return lambda first, seconds: distance(torch.tensor(np.log(first)), seconds.log()[:, None])


def test_the_least_value_is_found_with_intervals_of_means(rng: np.random.Generator, find: Finder) -> None:
    """x = log a - u, y = logit b - v; x² + y² + xy over tasks: least at the means of u and v, whose spread is known."""
    u, v = (torch.from_numpy(rng.normal(mean, 0.4, size=300)) for mean in (0.7, -0.5))

    def objective(share: float, scales: Tensor) -> Tensor:
        x, y = scales.log()[:, None] - u, torch.tensor(logit(share)) - v
        return x**2 + y**2 + x * y

    fits = find(objective, SHARE, SCALE)
    for name, points, to_place in (("scale", u.numpy(), np.log), ("share", v.numpy(), logit)):
        fit, half = fits[name], 1.959964 * points.std() / 300**0.5
        ends = [to_place(value) for value in (fit.low, fit.value, fit.high)]
        assert ends == pytest.approx(points.mean() + half * np.array([-1, 0, 1]), abs=1e-6)
        assert ends[1] == pytest.approx(points.mean(), abs=1e-9)
        assert (fit.n, fit.at_end) == (300, False)


def test_the_floor_of_a_narrow_bent_valley_is_found(find: Finder) -> None:
    """Rosenbrock's."""
    valley = of_logs(lambda x, y: 100 * (y - 2 - x**2) ** 2 + (1 - x) ** 2)
    fits = find(valley, SCALE, OTHER)
    assert [fits["scale"].value, fits["other"].value] == pytest.approx([np.exp(1), np.exp(3)], rel=1e-5)


def test_the_deeper_of_two_valleys_is_found(find: Finder) -> None:
    """Also where the other is a point of the grid, and the deeper one as far from its points as can be."""
    cell = float(SCALE.places[1] - SCALE.places[0])
    x0, y0 = 3.5 * cell, -0.5 * cell
    two = of_logs(lambda x, y: 1 + torch.minimum(x**2 + y**2, 2 * (x - x0) ** 2 + 2 * (y - y0) ** 2 - 0.5))
    fits = find(two, SCALE, OTHER)
    assert [fits["scale"].value, fits["other"].value] == pytest.approx([np.exp(x0), np.exp(y0)], rel=1e-6)


def test_what_runs_away_or_does_not_matter_is_at_an_end(find: Finder) -> None:
    ends: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "least at the low end": lambda x, y: x.exp() + (y - 1) ** 2,
        "least at the high end": lambda x, y: (-x).exp() + (y - 1) ** 2,
        "without effect": lambda x, y: 0 * x + 1 + (y - 1) ** 2,
        "levels off": lambda x, y: 1 + torch.relu(2 - x) + (y - 1) ** 2,
        "all but without effect": lambda x, y: 1 + 1e-12 * x**2 + (y - 1) ** 2,
    }
    for distance in ends.values():
        fits = find(of_logs(distance), SCALE, OTHER)
        assert (fits["scale"].at_end, fits["other"].at_end) == (True, False)
        assert fits["other"].value == pytest.approx(np.exp(1), rel=1e-4)
        turned = find(of_logs(lambda x, y, distance=distance: distance(y, x)), SCALE, OTHER)
        assert (turned["scale"].at_end, turned["other"].at_end) == (False, True)


def test_both_settings_can_run_away_together(find: Finder) -> None:
    fits = find(of_logs(lambda x, y: 20 + x + 100 * (y - x) ** 2), SCALE, OTHER)
    assert [fits["scale"].value, fits["other"].value] == pytest.approx([1e-4, 1e-4], rel=0.02)
    assert all(fit.at_end for fit in fits.values())


def test_ends_of_intervals_are_finite(find: Finder) -> None:
    """Of a setting on which tasks do not agree at all."""
    apart = torch.tensor([-2000.0, 0.0, 2000.0], dtype=torch.float64)
    fits = find(of_logs(lambda x, y: (x - apart) ** 2 + (y - 1) ** 2), SCALE, OTHER)
    assert 1e100 < fits["scale"].high < np.inf
    assert 0 < fits["scale"].low < 1e-100


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_finite_nowhere_has_no_settings(bad: float, find: Finder) -> None:
    for fit in find(lambda first, seconds: torch.full((len(seconds), 7), bad), SCALE, SHARE).values():
        assert np.isnan([fit.value, fit.low, fit.high]).all()
        assert (fit.n, fit.at_end) == (7, False)


def test_settings_where_the_objective_is_not_finite_are_passed_by(find: Finder) -> None:
    """Also where each task's value is finite, and their sum is not."""

    def distance(x: Tensor, y: Tensor) -> Tensor:
        value = ((x - 1) ** 2 + (y - 1) ** 2).expand(-1, 4)
        return torch.where(y > 2, torch.nan, torch.where(y < 0, 1e308, value))

    fits = find(of_logs(distance), SCALE, OTHER)
    assert [fits["scale"].value, fits["other"].value] == pytest.approx([np.exp(1)] * 2, rel=1e-6)


def test_a_range_has_a_unit() -> None:
    for power, low in ((1, 3e-4), (-2, 1e-4 / 9), (0, 1e-4)):
        free = Free("scale", 1e-4, 1e4, points=5, power=power)
        assert free.times(3.0).value(float(free.times(3.0).places[0])) == pytest.approx(low)
        assert free.times(0.0) == free


def test_a_value_of_the_first_setting_is_prepared_once_for_many_of_the_second() -> None:
    prepared: list[float] = []

    def at(value: float) -> Callable[[Tensor], Tensor]:
        prepared.append(value)
        return lambda seconds: (np.log(value) - 0.3) ** 2 + (seconds.log()[:, None] + 0.2) ** 2

    fits = fit_nested(at, SCALE, OTHER)
    assert [fits["scale"].value, fits["other"].value] == pytest.approx([np.exp(0.3), np.exp(-0.2)], rel=1e-7)
    assert len(prepared) < 70
