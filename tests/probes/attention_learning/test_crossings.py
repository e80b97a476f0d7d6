"""First crossings and their order."""

from __future__ import annotations

import math

import numpy as np
import pytest
from mesascope.probes.attention_learning.crossings import crossing_ends, first_crossing, lead_ends, order_of
from mesascope.probes.attention_learning.names import ORDERS
from mesascope.probes.statistics.medians import Ends

NAN, INF = math.nan, math.inf
STEPS = (0, 20, 40, 60)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.2, 0.6, 0.9], 40),
        ([0.0, 0.5, 0.6, 0.9], 20),  # one half is enough
        ([0.0, 0.7, 0.3, 0.9], 20),  # the first time counts
        ([0.9, 0.9, 0.9, 0.9], 0),
        ([0.0, 0.1, 0.2, 0.49999], None),
        ([NAN, 0.1, NAN, 0.8], 60),
        ([NAN] * 4, None),
    ],
)
def test_the_first_step_with_one_half(values: list[float], expected: int | None) -> None:
    assert first_crossing(STEPS, np.array(values)) == expected


def test_orders() -> None:
    found = [order_of(*steps) for steps in ((20, 40), (40, 20), (20, 20), (None, None))]
    assert found == list(ORDERS)
    assert [order_of(20, None), order_of(None, 20)] == list(ORDERS[:2])
    assert [order_of(0, None), order_of(0, 20), order_of(20, 0)] == [ORDERS[0], ORDERS[0], ORDERS[1]]


def test_ends_of_seeds_that_never_cross() -> None:
    assert crossing_ends(40, 100) == Ends(40, 40)
    assert crossing_ends(None, 100) == Ends(100, INF)
    assert lead_ends(20, 50, 100) == Ends(30, 30)
    assert lead_ends(50, 20, 100) == Ends(-30, -30)
    assert lead_ends(20, None, 100) == Ends(80, INF)
    assert lead_ends(None, 20, 100) == Ends(-INF, -80)
    assert lead_ends(None, None, 100) == Ends(-INF, INF)
