"""Figures along depth, and of roll-outs, of made-up reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from mesascope.analyses.reports import figures
from mesascope.analyses.reports.report import Report

from .made_up import MadeUp

Faults = Callable[..., list[str]]


def drawn(report: Report, name: str) -> tuple[Figure, pd.DataFrame]:
    found = figures.render(report, name, "neurips")
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["depth", "curvature"])
@pytest.mark.parametrize("n_layers", [3, 10])
def test_many_layers_are_legible(name: str, n_layers: int, faults: Faults) -> None:
    report = MadeUp(n_layers=n_layers).report()
    assert faults(*drawn(report, name), figures.caption(report, name)) == []


def test_a_roll_out_that_overflows_says_from_which_step_on(faults: Faults) -> None:
    made = MadeUp()
    measure = made.parts["loss_rollout", "model"]
    for array in (measure.values, *measure.interval):
        array[0, 26:] = np.nan
    made.parts["loss_rollout", "model"] = replace(measure, message="NaN where the loss overflows")
    figure, table = drawn(made.report(), "rollout")
    assert figure.get_suptitle() == "dampening 1: the loss of the trained model overflows from step 27 on"
    assert faults(figure, table, "") == []
    steps = table[(table["panel"] == "dampening 1") & (table["series"] == "trained model")].dropna(subset="value")
    assert steps["at"].max() == 26


def test_eigenvalues_are_shown_where_they_begin_and_end() -> None:
    report = MadeUp(n_layers=5).report()
    _, table = drawn(report, "curvature")
    shown = table[(table["panel"] == "trained model") & (table["kind"] == "estimate")]
    eigenvalues = report.measures["curvature_eigenvalues"].sel(candidate="model")
    for series, layer in {"inputs": "inputs", "after the first layer": 0, "before the last layer": 3}.items():
        np.testing.assert_array_equal(shown[shown["series"] == series]["value"], eigenvalues.sel(layer=layer).values)
    spread = table[(table["panel"] == "spread") & (table["series"] == "constructed GD")]
    np.testing.assert_array_equal(spread.dropna(subset="value")["at"], range(5))
