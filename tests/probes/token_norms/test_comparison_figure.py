"""The figure of the comparison: the model beside untrained ones, with the p that the card gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from mesascope.analyses.reports import figures
from mesascope.analyses.reports.report import Report
from mesascope.probes.drawing import page
from mesascope.probes.measure import Claim, Measure

UNTRAINED = {"norm_growth_later": np.linspace(1.1, 1.2, 19), "anisotropy": np.linspace(0.3, 0.7, 19)}


def drawn(measures: dict[str, Measure]) -> tuple[Figure, pd.DataFrame] | None:
    claim = Claim("", "", "", (), "", ())
    source = {"name": "tiny", "revision": None}
    report = Report("token-norms", "2", {}, (source,), {}, {}, claim, measures, {}, 0, "0" * 16)
    return page.compose(figures.figures_of("token-norms")["untrained"], report.findings)


def test_the_model_stands_beside_untrained_ones(made: Any) -> None:
    found = drawn(made.comparison(UNTRAINED, norm_growth_later=2.0, anisotropy=0.5, sink_metric=3.0))
    assert found is not None
    _, table = found
    estimates = table[table["kind"] == "estimate"].set_index("series")["value"]
    assert estimates.to_dict() == {"growth, p ≤ 1/20": 2.0, "anisotropy, p = 1": 0.5, "attention sinks": 3.0}
    nulls = table[table["kind"] == "null: untrained"].set_index("series")
    assert nulls.loc["growth, p ≤ 1/20", ["low", "high"]].tolist() == [1.1, 1.2]
    assert set(nulls["n"]) == {19}
    assert "attention sinks" not in nulls.index  # no untrained model has a number


def test_without_untrained_models_there_is_no_figure(made: Any) -> None:
    assert drawn(made.growth((1.5, 1.4, 1.6))) is None


@pytest.mark.parametrize(
    ("value", "nulls", "least", "most"),
    [(0.0, np.zeros(19), -0.03, 1.0), (0.5, np.zeros(19), -0.02, None), (0.5, np.linspace(-0.3, 0.7, 19), -0.35, None)],
)
def test_no_axis_goes_below_zero_where_no_number_does(
    made: Any, value: float, nulls: np.ndarray, least: float, most: float | None
) -> None:
    """Beside zeros alone there is nothing to scale an axis by: it ends at 1."""
    found = drawn(made.comparison({"anisotropy": nulls}, anisotropy=value))
    assert found is not None
    low, high = found[0].axes[0].get_xlim()
    assert low == pytest.approx(least, abs=0.02)
    assert high == most or most is None
