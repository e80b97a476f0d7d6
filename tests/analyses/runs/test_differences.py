"""How far two numbers may lie apart."""

from __future__ import annotations

import numpy as np
import pytest
from mesascope.analyses.runs.differences import Tolerance

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("a", "b", "holds"),
    [
        (1.0, 1.0 + 5e-6, True),
        (1.0, 1.0 + 5e-5, False),
        (0.0, 5e-7, True),
        (0.0, 5e-6, False),
        (INF, 1.0, False),
        (-INF, INF, False),
        (NAN, 1.0, False),
    ],
)
def test_only_finite_numbers_can_be_close(a: float, b: float, holds: bool) -> None:
    tolerance = Tolerance(relative=1e-5, absolute=1e-6)
    assert bool(tolerance.holds(a, b)) is holds
    both = np.array([INF, a]), np.array([INF, b])
    assert tolerance.holds(*both).tolist() == [False, holds]
