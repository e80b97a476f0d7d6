"""How far two numbers may lie apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mesascope.analyses.runs.differences import ERROR, Tolerance, leaves

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


def test_of_the_opening_check_it_matters_what_passed_and_not_by_how_much() -> None:
    def differences(**changed: Any) -> list[str]:
        part = {"passed": True, "error": 1e-7}
        folders = []
        for name, values in (("recorded", part), ("again", part | changed)):
            record = {"sources": [{"opening_check": {"parts": {"attention write": values}}}]}
            folders.append({**record, "provenance": {"code_sha256": "c"}, "name": name})
        return [place for place, _, _ in leaves(*folders) if not ERROR.fullmatch(place)]

    assert differences(error=2e-7) == ["name"]
    assert differences(error=None) == ["name"]
    assert differences(passed=False) == ["sources[0].opening_check.parts.attention write.passed", "name"]
