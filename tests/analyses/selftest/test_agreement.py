"""Errors are relative to what is expected, and limits are four standard errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.analyses.selftest.agreement import IDENTITY, Agreement, same, same_mean


def test_an_error_is_relative_to_the_largest_number_expected() -> None:
    found = same(torch.tensor([1.0, 200.0, -3.0]), np.array([1.0, 200.0, -5.0]))
    assert found == Agreement(2 / 200, IDENTITY, None)
    assert not found.passed
    assert same(2.0, 2.0 * (1 + 9e-11)).passed
    assert not same(2.0, 2.0 * (1 + 1.1e-10)).passed


def test_numbers_of_another_shape_are_not_compared() -> None:
    with pytest.raises(ValueError, match=r"numbers of shape \[2\]; expected \[1\]"):
        same(torch.ones(2), torch.ones(1))


def test_a_mean_may_miss_by_four_standard_errors() -> None:
    drawn = torch.tensor([1.0, 3.0, 1.0, 3.0], dtype=torch.float64)
    error = 4 * (4 / 3) ** 0.5 / 2
    found = same_mean(drawn, 2.5)
    assert (found.error, found.tolerance, found.draws) == (0.5, pytest.approx(error), 4)
    assert same_mean(drawn, 2 + 0.99 * error).passed
    assert not same_mean(drawn, 2 - 1.01 * error).passed


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_not_finite_has_not_passed(wrong: float) -> None:
    for found in (Agreement(wrong), same(torch.tensor([wrong, 1.0]), torch.ones(2))):
        assert not found.passed
        assert found.share == np.inf
