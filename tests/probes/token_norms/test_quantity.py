"""One builder of measures: each sentence of their messages where it belongs, and only there."""

from __future__ import annotations

import numpy as np
import pytest
from mesascope.data.corpus import windows
from mesascope.probes.token_norms.quantity import NO_TOKEN, Estimate, Quantity, measure_from
from mesascope.probes.token_norms.text import Text

NORM = Quantity("norm", ("layer",), {}, "of something", "nothing was there")


def text(documents: int = 12, tokens: int = 20) -> Text:
    return Text(windows([np.ones(tokens, dtype=np.int64)] * documents, 8, 3), np.zeros(3))


def estimate(*values: float, n_pieces: int = 12) -> Estimate:
    found = np.array(values)
    return Estimate(found, found - 1, found + 1, n_pieces)


def test_numbers_and_intervals_are_those_given() -> None:
    measure = measure_from(NORM, estimate(1.0, 2.0), text())
    np.testing.assert_array_equal(measure.values, [1, 2])
    np.testing.assert_array_equal(measure.interval, [[0, 1], [2, 3]])
    assert (measure.replicate, measure.n, measure.axes, measure.unit) == ("document", 12, ("layer",), "norm")
    assert measure.message == "of something"
    assert measure.no_nulls == "no untrained model read the whole text"


def test_where_a_number_is_missing_the_message_says_why() -> None:
    measure = measure_from(NORM, estimate(1.0, np.nan, np.inf), text())
    np.testing.assert_array_equal(np.isfinite(measure.values), [True, False, False])
    np.testing.assert_array_equal(np.isfinite(measure.interval[0]), [True, False, False])
    assert measure.message == "of something; NaN where nothing was there"


def test_without_any_number_it_is_undefined() -> None:
    measure = measure_from(NORM, estimate(np.nan, np.nan), text())
    assert (measure.status, measure.message) == ("undefined", "nothing was there")
    assert measure_from(Quantity("norm", ("layer",)), estimate(np.nan), text()).message == NO_TOKEN


def test_one_piece_has_no_interval() -> None:
    measure = measure_from(NORM, estimate(1.0, n_pieces=1), text(1, 7))
    assert np.isnan(measure.interval).all()
    assert measure.message == "of something; no interval: there is only one block to resample"


@pytest.mark.parametrize(
    ("documents", "tokens", "note"),
    [
        (12, 20, ""),
        (3, 20, "intervals are rough: they resample only 3 documents"),
        (1, 80, "the text is one document: intervals resample 10 blocks of consecutive windows"),
        (501, 2, "intervals resample 501 documents in 500 groups of consecutive ones"),
    ],
)
def test_what_was_resampled_is_said_where_it_matters(documents: int, tokens: int, note: str) -> None:
    given = text(documents, tokens)
    measure = measure_from(NORM, estimate(1.0, n_pieces=given.n_pieces), given)
    assert measure.message == "; ".join(filter(None, ("of something", note)))
    assert measure.n == given.n_replicates
