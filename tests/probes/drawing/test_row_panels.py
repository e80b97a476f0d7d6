"""Panels of rows: each measure in its panel, on its axis, whether a figure is drawn whole or one of its panels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from mesascope.probes import Findings
from mesascope.probes.drawing import scales
from mesascope.probes.drawing.marks import BLUE, NULL_LOOKS, VERMILION, Look
from mesascope.probes.drawing.page import STYLES, Page, compose
from mesascope.probes.drawing.row_panels import column_of_rows
from mesascope.probes.measure import Measure

MODEL, STEP = Look("model", VERMILION), Look("step", BLUE, "s")
NEURIPS = STYLES["neurips"]


def number(value: float, unit: str, null: str) -> Measure:
    interval = np.array(value - 0.1), np.array(value + 0.1)
    return Measure(np.array(value), unit, interval, "task", 9, nulls={null: value + np.array([0.1, 0.2])})


PANELS = {
    "loss": {MODEL: number(0.2, "1", "untrained"), STEP: number(30.0, "1", "untrained")},
    "share": {MODEL: number(0.0, "share", "shuffled")},
}


def figure_of_rows(findings: Findings, page: Page) -> pd.DataFrame | None:
    return column_of_rows(PANELS, page, {"loss": scales.log_scale, "share": scales.from_zero})


def drawn(panel: str | None = None) -> Any:
    made = compose(figure_of_rows, Findings({}, {}, {}), NEURIPS, panel)
    assert made is not None
    return made


def test_each_measure_is_a_row_of_its_panel() -> None:
    figure, table = drawn()
    loss, share = figure.axes
    estimates = table[table["kind"] == "estimate"].set_index(["panel", "series"])["value"]
    assert estimates.to_dict() == {("loss", "model"): 0.2, ("loss", "step"): 30.0, ("share", "model"): 0.0}
    assert [ax.get_title() for ax in figure.axes] == ["loss", "share"]
    assert [ax.get_xlabel() for ax in figure.axes] == ["score", "share"]
    assert (loss.get_xscale(), share.get_xscale()) == ("log", "linear")
    assert figure.get_figwidth() == NEURIPS.column
    (legend,) = figure.legends
    words = " ".join(text.get_text() for text in legend.get_texts())
    assert "untrained" in words
    assert "shuffled" in words


def test_marks_at_0_are_whole_on_an_axis_from_0() -> None:
    low, high = drawn()[0].axes[1].get_xlim()
    assert high > 0.2
    assert low == pytest.approx(-0.03 * high)


def test_one_panel_has_its_own_rows_and_keys() -> None:
    figure, table = drawn("share")
    assert set(table["panel"]) == {"share"}
    assert [ax.get_title() for ax in figure.axes] == ["share"]
    assert "untrained" not in " ".join(text.get_text() for text in figure.legends[0].get_texts())


def test_a_null_looks_the_same_in_a_panel_as_in_the_whole_figure() -> None:
    """The second null of the figure is drawn as the second one, also where the first is not there."""
    whole, alone = (
        {(line.get_color(), line.get_marker()) for line in figure.axes[-1].lines}
        for figure, _ in (drawn(), drawn("share"))
    )
    assert whole == alone
    first, second = (look[:2] for look in NULL_LOOKS[:2])
    assert {first, second} & whole == {second}
