"""Heads beyond every draw of their nulls."""

from __future__ import annotations

import numpy as np
import pytest
from mesascope.probes import Measure
from mesascope.probes.comparing.heads_beside_nulls import ENOUGH, HeadsBesideNulls, heads_beside_nulls

N_HEADS = 4


def of_heads(low: list[float], high: list[float]) -> Measure:
    """One layer of heads with these intervals."""
    ends = np.array([low]), np.array([high])
    return Measure(
        np.mean(ends, axis=0),
        "share",
        axes=("layer", "head"),
        interval=ends,
        no_nulls="beside",
        replicate="sequence",
        n=16,
        message="made up",
    )


def flat_null(value: float = 0.5, draws: int = ENOUGH) -> np.ndarray:
    return np.full((draws, 1, N_HEADS), value)


def told(measure: Measure, *nulls: np.ndarray) -> HeadsBesideNulls:
    found = heads_beside_nulls(measure, nulls)
    assert found is not None
    return found


def test_a_head_is_beyond_where_its_whole_interval_is() -> None:
    found = told(of_heads([0.6, 0.4, 0.1, 0.55], [0.9, 0.9, 0.4, 0.6]), flat_null())
    assert found.above.tolist() == [[True, False, False, True]]
    assert found.below.tolist() == [[False, False, True, False]]
    assert found.draws == ENOUGH


def test_one_draw_of_one_null_is_enough_to_doubt() -> None:
    null = flat_null()
    null[3, 0, 0] = 0.95
    found = told(of_heads([0.6] * N_HEADS, [0.9] * N_HEADS), flat_null(), null)
    assert found.above.tolist() == [[False, True, True, True]]


def test_a_draw_without_a_number_is_left_out() -> None:
    null = flat_null(draws=ENOUGH + 1)
    null[0, 0, 1] = np.nan
    found = told(of_heads([0.6] * N_HEADS, [0.9] * N_HEADS), null)
    assert found.above.all()
    assert found.draws == ENOUGH


def test_a_head_with_too_few_draws_or_no_interval_is_not_told() -> None:
    null = flat_null()
    null[0, 0, 1] = np.nan
    found = told(of_heads([0.6, 0.6, np.nan, 0.6], [0.9, 0.9, np.nan, 0.9]), null)
    assert found.told.tolist() == [[True, False, False, True]]
    assert found.above.tolist() == [[True, False, False, True]]
    assert heads_beside_nulls(of_heads([0.6] * N_HEADS, [0.9] * N_HEADS), [flat_null(draws=ENOUGH - 1)]) is None


def test_what_differs_by_rounding_alone_is_equal() -> None:
    found = told(of_heads([0.5 + 1e-12] * N_HEADS, [0.5 + 1e-12] * N_HEADS), flat_null())
    assert not found.above.any()
    found = told(of_heads([0.5 - 1e-12] * N_HEADS, [0.5 - 1e-12] * N_HEADS), flat_null())
    assert not found.below.any()


def test_how_many_are_expected_by_chance() -> None:
    found = told(of_heads([0.6, 0.4, 0.4, 0.4], [0.9] * N_HEADS), flat_null())
    assert found.by_chance == pytest.approx(N_HEADS / (ENOUGH + 1))
    # P(at least one of four beyond 19 draws) = 1 - 0.95^4 = 0.185
    assert found.could_be_chance
    assert not told(of_heads([0.6] * N_HEADS, [0.9] * N_HEADS), flat_null()).could_be_chance
