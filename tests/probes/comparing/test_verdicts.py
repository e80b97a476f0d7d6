"""Numbers as the claim writes them, and what a share of unexplained prediction is called."""

from __future__ import annotations

import numpy as np
import pytest
from mesascope.probes.comparing.numbers import Number
from mesascope.probes.comparing.verdicts import at_most, percent, percent_with_interval, verdict


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ((0.1052, 0.1011, 0.1093), "0.105 (95 % CI 0.101 to 0.109)"),
        ((0.0999, 0.0882, 0.1117), "0.0999 (95 % CI 0.0882 to 0.1117)"),
        ((6.061, 5.9, 6.2), "6.06 (95 % CI 5.90 to 6.20)"),
        ((0.0003, -0.05, 0.06), "0.000 (95 % CI -0.050 to 0.060)"),
        ((1234.5, np.nan, np.nan), "1234"),
        ((0.0, np.nan, np.nan), "0.00"),
        ((3e-12, -1e-11, 2e-11), "less than 0.000001"),
        ((3e-12, -1e-11, 2e-6), "0.00000000 (95 % CI -0.00000000 to 0.00000200)"),
    ],
)
def test_an_interval_has_as_many_decimals_as_its_number(value: tuple[float, float, float], words: str) -> None:
    assert str(Number(*value)) == words


def test_a_share_has_as_many_digits_as_tell_its_ends_apart() -> None:
    assert percent_with_interval(Number(0.1234, 0.1231, 0.1234)) == "12.34 % (95 % CI 12.31 to 12.34)"
    assert percent_with_interval(Number(0.1234, 0.11, 0.14)) == "12 % (95 % CI 11 to 14)"
    assert percent_with_interval(Number(1.004, 1.0, 1.01)) == "100 % (95 % CI 100 to 101)"


def test_less_than_a_share_is_at_most_that() -> None:
    assert [at_most(said) for said in ("4.1 %", "less than 0.1 %")] == ["at most 4.1 %", "less than 0.1 %"]


def test_shares_of_a_rounding_error_are_one_number() -> None:
    assert percent(Number(1e-9, 0, 2e-9)) == percent_with_interval(Number(1e-9, 0, 2e-9)) == "less than 0.1 %"
    assert percent(Number(0.0006, 0.0005, 0.0007)) == "0.06 %"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.05, 0.1, "agrees"),
        (0.05, 0.1001, "closest"),
        (0.5, 0.9, "closest"),
        (0.5001, 0.9, "none"),
        (np.nan, np.nan, "closest"),
    ],
)
def test_the_whole_interval_decides(low: float, high: float, expected: str) -> None:
    assert verdict(Number(0.08, low, high)) == expected
