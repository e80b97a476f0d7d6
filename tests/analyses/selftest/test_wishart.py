"""Moments of Wishart matrices: printed formulas, one and two dimensions, and SciPy's draws."""

from __future__ import annotations

from fractions import Fraction
from math import prod

import numpy as np
import pytest
from mesascope.analyses.selftest.wishart import descent_risk, trace_moment
from scipy.stats import wishart


@pytest.mark.parametrize(("d", "n"), [(1, 1), (2, 5), (7, 3), (20, 41)])
def test_the_first_four_are_those_that_are_printed(d: int, n: int) -> None:
    third = n * n + d * d + 3 * n * d + 3 * n + 3 * d + 4
    fourth = n**3 + d**3 + 6 * n * d * (n + d) + 6 * (n * n + d * d) + 17 * n * d + 21 * (n + d) + 20
    assert [trace_moment(k, d, n) / (n * d) for k in range(1, 5)] == [1, n + d + 1, third, fourth]


def test_one_dimension_is_chi_squared() -> None:
    assert [trace_moment(k, 1, 5) for k in range(1, 9)] == [prod(5 + 2 * i for i in range(k)) for k in range(1, 9)]


def test_both_sides_of_a_matrix_have_the_same_squares() -> None:
    assert all(trace_moment(k, 4, 9) == trace_moment(k, 9, 4) for k in range(1, 12))


def test_two_dimensions_by_the_density_of_eigenvalues() -> None:
    """n = 5: (a - b) a b exp(-(a + b)/2) for a > b > 0; with a = b + u two rules of Laguerre are exact."""
    nodes, weights = np.polynomial.laguerre.laggauss(20)
    b, u = np.meshgrid(nodes, 2 * nodes)  # exp(-b) and exp(-u/2)
    density = np.outer(weights, weights) * u * b * (b + u)
    for k in (1, 5, 9):
        mean = (density * (b**k + (b + u) ** k)).sum() / density.sum()
        assert mean == pytest.approx(float(trace_moment(k, 2, 5)), rel=1e-11)


@pytest.mark.parametrize("steps", [1, 2, 4, 8, 16])
def test_the_risk_of_descent_is_that_of_drawn_spectra(steps: int) -> None:
    drawn = wishart(41, np.eye(20)).rvs(2_000, random_state=0)
    risks = ((1 - 0.1 / 41 * np.linalg.eigvalsh(drawn)) ** (2 * steps)).sum(axis=1)
    error = risks.std() / len(risks) ** 0.5
    assert error < 0.01 * risks.mean()
    assert float(descent_risk(steps, Fraction(1, 10), 20, 41)) == pytest.approx(risks.mean(), abs=4 * error)


def test_the_risk_of_descent_to_its_digits() -> None:
    found = [float(descent_risk(steps, Fraction(1, 10), 20, 41)) for steps in (2, 4, 8, 16)]
    assert found == pytest.approx([13.6014, 10.0088, 6.2863, 3.3124], abs=5e-5)
    assert float(descent_risk(1, Fraction(3, 4), 2, 3)) == 2 - 2 * 2 * 0.75 + 0.75**2 * 2 * 6 / 3
