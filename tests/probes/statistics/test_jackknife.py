"""The jackknife: of a mean it is the t-interval, and with fewer than two groups there is none."""

from __future__ import annotations

import numpy as np
from mesascope.probes.statistics.bootstrap import t_interval
from mesascope.probes.statistics.jackknife import jackknife_interval, left_out_sums


def test_of_a_mean_it_is_the_t_interval(rng: np.random.Generator) -> None:
    points = rng.normal(size=(10, 3))
    left_out = np.array([np.delete(points, group, axis=0).mean(axis=0) for group in range(10)])
    found = jackknife_interval(points.mean(axis=0), left_out)
    np.testing.assert_allclose(found, t_interval(points), rtol=1e-12)


def test_groups_that_agree_have_an_interval_of_no_width() -> None:
    low, high = jackknife_interval(np.array([2.0]), np.full((4, 1), 2.0))
    assert low == high == 2


def test_one_group_has_no_interval() -> None:
    for bound in jackknife_interval(np.array([2.0, 3.0]), np.array([[np.nan, np.nan]])):
        assert np.isnan(bound).all()


def test_each_group_is_left_out_once(rng: np.random.Generator) -> None:
    sums = rng.normal(size=(5, 2))
    slow = [np.delete(sums, group, axis=0).sum(axis=0) for group in range(5)]
    np.testing.assert_allclose(left_out_sums(sums), slow)
