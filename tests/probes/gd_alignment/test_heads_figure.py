"""The figure of softmax heads: legible, and exactly what the report holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from mesascope.analyses.reports import figures
from mesascope.analyses.reports.report import Report
from mesascope.probes.drawing import page
from mesascope.probes.measure import Measure, missing, without_interval

from .made_up import MadeUp

Faults = Callable[..., list[str]]


def made_up(n_layers: int = 1, n_heads: int = 2, seeds: int = 0, measure: Measure | None = None) -> Report:
    """A report of softmax heads that nearly cancel."""
    rng, report = np.random.default_rng(n_heads), MadeUp().report()
    KQ = np.stack([np.diag([2.0 * (-1) ** head] * 10 + [0.0]) for head in range(n_heads)])[None]
    PV = np.stack([np.diag([0.0] * 10 + [-6.0 * (-1) ** head]) for head in range(n_heads)])[None]
    shape = (*(seeds,) * bool(seeds), n_layers, n_heads, 11, 11)
    arrays = {name: held + 0.1 * rng.normal(size=shape) for name, held in {"KQ": KQ, "PV": PV}.items()}
    found = measure or without_interval(np.full(n_layers, 0.01), "share", ("layer",), message="none", no_nulls="none")
    return replace(report, measures={**report.measures, "heads_cancel": found}, arrays=arrays)


def drawn(report: Report, width: float = 5.5) -> tuple[Figure, pd.DataFrame]:
    build = figures.figures_of("gd-alignment")["heads"]
    found = page.render(build, report.findings, page.style_of("acl", width))
    assert found is not None
    return found


@pytest.mark.parametrize(("n_layers", "n_heads"), [(1, 2), (3, 2), (1, 4), (6, 6)])
@pytest.mark.parametrize("width", [5.5, 3.25])
def test_maps_are_legible(n_layers: int, n_heads: int, width: float, faults: Faults) -> None:
    report = made_up(n_layers, n_heads)
    figure, table = drawn(report, width)
    assert faults(figure, table, figures.caption(report, "heads")) == []


def test_maps_are_the_products_and_their_weighted_sum_each_kind_in_its_own_colours() -> None:
    report = made_up()
    figure, table = drawn(report)
    KQ, PV = report.arrays["KQ"][0], report.arrays["PV"][0]
    expected = {f"{name}, head {h + 1}": held[h] for name, held in {"KQ": KQ, "PV": PV}.items() for h in range(2)}
    expected["sum"] = KQ[0] * PV[0, 10, 10] + KQ[1] * PV[1, 10, 10]
    maps = [ax for ax in figure.axes if ax.images]
    assert list(table["panel"].unique()) == list(expected)
    for ax, (panel, matrix) in zip(maps, expected.items(), strict=True):
        np.testing.assert_allclose(np.asarray(ax.images[0].get_array()), matrix)
        shown = table[(table["panel"] == panel) & (table["kind"] == "estimate")]["value"]
        np.testing.assert_allclose(shown, matrix.ravel())
    limits = [ax.images[0].get_clim()[1] for ax in maps]
    assert limits == pytest.approx([abs(KQ).max()] * 2 + [abs(PV).max()] * 2 + [abs(expected["sum"]).max()])
    assert figure.get_suptitle() == f"largest: KQ {limits[0]:.2g}, PV {limits[2]:.2g}, sum {limits[4]:.2g}"


def test_what_is_left_out_is_said() -> None:
    figure, table = drawn(made_up(n_layers=5, n_heads=6, seeds=3))
    heading = figure.get_suptitle().replace("\n", " ")
    assert heading.endswith("the first 4 of 5 layers, the first 4 of 6 heads, the sum of all, the first of 3 seeds")
    assert table["panel"].nunique() == 4 * 9


def test_other_models_have_no_such_figure() -> None:
    assert figures.render(MadeUp().report(), "heads", "neurips") is None
    linear = made_up(measure=missing("share", "not applicable", "linear attention"))
    assert figures.render(linear, "heads", "neurips") is None
