"""Numbers of tasks by names."""

from __future__ import annotations

import numpy as np
from mesascope.probes.icl_vs_gd.numbers import flat_arrays, together


def test_consecutive_tasks_are_joined_at_every_name() -> None:
    parts = [{"gd": {"contrast": {"other": np.full((n, 2), n)}}, "accuracy": np.full(n, float(n))} for n in (1, 2)]
    found = together(parts)
    np.testing.assert_array_equal(found["gd"]["contrast"]["other"], [[1, 1], [2, 2], [2, 2]])
    np.testing.assert_array_equal(found["accuracy"], [1, 2, 2])


def test_arrays_are_called_as_parts_of_measures_are() -> None:
    x, y = np.zeros(2), np.ones(2)
    found = flat_arrays({"contrast": {"gd": {"in context": x}}, "chance": y})
    assert list(found) == ["contrast_gd_in context", "chance"]
    assert found["contrast_gd_in context"] is x
