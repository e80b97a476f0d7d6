"""A page has room for a figure, for one of its panels, or none: which it is is said in words."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from mesascope.data.errors import UsageError
from mesascope.probes.drawing import legends, marks, page
from mesascope.probes.drawing.marks import BLUE, VERMILION, Look
from mesascope.probes.findings import Findings
from mesascope.probes.measure import Measure

NOTHING = Findings({}, {}, {})
LOOKS = {"left": Look("one", BLUE), "middle": Look("two", VERMILION, "s"), "right": Look("three")}


def measure(value: float) -> Measure:
    return Measure(np.array(value), "nat", (np.array(value - 0.1), np.array(value + 0.1)), "task", 9, no_nulls="none")


def three(findings: Findings, page: page.Page) -> pd.DataFrame:
    """Three panels, each with a row of its own."""
    shown = page.chosen({title: [(look, measure(1.0))] for title, look in LOOKS.items()})
    tables = []
    for (title, rows), ax in zip(shown.items(), page.grid(len(shown), 3, [1.0, 2.0, 1.0][: len(shown)]), strict=True):
        tables.append(marks.rows(rows, ax, title))
        ax.set_title(title)
    page.heading("three of many")
    page.legend([legends.line_key(look) for rows in shown.values() for look, _ in rows])
    return marks.together(tables)


def columns(width: float) -> int:
    found = page.compose(three, NOTHING, page.style_of("neurips", width))
    assert found is not None
    return len({round(ax.get_position().x0, 3) for ax in found[0].axes})


def test_panels_stand_beside_each_other_where_there_is_room() -> None:
    assert [columns(width) for width in (3.0, 3.25, 5.5)] == [2, 2, 3]


def test_a_figure_is_as_high_as_its_rows_its_heading_and_its_legend() -> None:
    """In one row the highest panel counts; in two rows the highest of each."""
    for width, rows in ((5.5, 2.0), (3.25, 2.0 + 1.0)):
        found = page.compose(three, NOTHING, page.style_of("neurips", width))
        assert found is not None
        figure, _ = found
        legend = figure.legends[0].get_window_extent().height / figure.dpi
        assert figure.get_figheight() == pytest.approx(rows + 0.14 + legend)


@pytest.mark.parametrize("panel", ["2", "middle"])
def test_one_panel_is_drawn_with_its_own_legend_and_table(panel: str) -> None:
    found = page.render(three, NOTHING, page.STYLES["icml"], panel)
    assert found is not None
    figure, table = found
    assert [ax.get_title() for ax in figure.axes] == ["middle"]
    assert figure.get_figwidth() == page.STYLES["icml"].column
    assert set(table["panel"]) == {"middle"}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["two"]


@pytest.mark.parametrize("panel", ["0", "4", "-1", "centre", ""])
def test_a_panel_that_is_not_there_is_answered_with_those_that_are(panel: str) -> None:
    with pytest.raises(UsageError, match=r"1: left, 2: middle, 3: right"):
        page.compose(three, NOTHING, panel=panel)


@pytest.mark.parametrize("width", [0.0, -3.0, float("nan"), float("inf"), 2.9, 31.0])
def test_widths_that_nobody_can_read_at_are_refused(width: float) -> None:
    with pytest.raises(UsageError, match=r"expected 3 to 30 inches"):
        page.style_of("icml", width)


def test_on_somebodys_axes_the_first_panel_is_drawn_in_their_settings() -> None:
    with matplotlib.rc_context({"font.size": 13.0}):
        figure = Figure((8, 4), layout="constrained")
        left, right = figure.subplots(1, 2)
        table = page.draw_on(three, NOTHING, right)
        assert table is not None
        assert set(table["panel"]) == {"left"}
        assert right.title.get_fontsize() == pytest.approx(13 * 1.2)  # matplotlib's own "large"
    assert not left.lines
    assert not figure.legends
    assert not figure.get_suptitle()
    figure.draw_without_rendering()
    legend = right.get_legend()
    assert legend is not None
    assert not legend.get_window_extent().overlaps(right.bbox)


def test_axes_too_small_to_read_are_not_drawn_on() -> None:
    figure = Figure((2, 1))
    small: Any = figure.subplots(2, 2)[0, 0]
    with pytest.raises(UsageError, match=r"inches, too small to read; expected at least 1.5 x 1"):
        page.draw_on(three, NOTHING, small)
    assert not small.lines


def test_long_titles_and_labels_are_folded_and_short_ones_are_not() -> None:
    def build(findings: Findings, page: page.Page) -> pd.DataFrame:
        axes = page.grid(2, 2, 1.5)
        for ax, words in zip(axes, ("a title that is far too long for a panel of this width", "short"), strict=True):
            ax.set(title=words, xlabel=words)
        return marks.frame(())

    found = page.render(build, NOTHING, page.style_of("neurips", 3.25))
    assert found is not None
    long, short = found[0].axes
    for text in (long.title, long.xaxis.label):
        assert "\n" in text.get_text()
        assert text.get_window_extent().width < long.bbox.width + 0.12 * found[0].dpi
    assert short.get_title() == short.get_xlabel() == "short"
