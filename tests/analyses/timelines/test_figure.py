"""The figure of a timeline: one axis for all panels, and every kind of step to be seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from mesascope.analyses.timelines.figure import MOST_PANELS, draw, drawn, track
from mesascope.analyses.timelines.judging import timeline
from mesascope.analyses.timelines.series import Series
from mesascope.probes.drawing.page import STYLES, Style
from mesascope.probes.followed import Course, Followed

from .made_up import STEPS, rising


def course(values: list[float], copied: tuple[int, ...] = (), failed: tuple[int, ...] = ()) -> Course:
    estimate = np.array(values, dtype=np.float64)
    tried = np.isin(STEPS, failed)
    why = tuple("killed" if lost else "" if np.isfinite(v) else "none" for lost, v in zip(tried, estimate, strict=True))
    nulls = np.full(len(STEPS), 0.3)
    return Course(STEPS, estimate, estimate - 0.1, estimate + 0.1, nulls, why, np.isin(STEPS, copied), tried, "nat")


def series(words: str, *courses: Course) -> Series:
    return Series("alpha", Followed("score", words), {f"seed {seed}": one for seed, one in enumerate(courses)})


def figure_of(*many: Series, style: Style = STYLES["neurips"]) -> tuple[Figure, list[dict]]:
    found = timeline("toy", "seed", many)
    figure, table = drawn([track(one) for one in found.judged], found.noun, style)
    return figure, table.to_dict("records")


def labels(figure: Figure) -> list[str]:
    return [text.get_text().replace("\n", " ") for legend in figure.legends for text in legend.get_texts()]


def gaps() -> Course:
    """Two steps failed or without a number, and one a copy."""
    values = rising(100)
    values[1], values[3] = np.nan, np.nan
    return course(values, copied=(20,), failed=(10,))


@pytest.mark.parametrize("style", [STYLES["neurips"], Style(3.25, 3.25)])
def test_panels_stand_one_above_the_other_on_one_axis(style: Style) -> None:
    figure, _ = figure_of(
        series("the score", course(rising(50))), series("a measure of another name", gaps()), style=style
    )
    one, other = figure.axes
    assert one.get_xlim() == other.get_xlim()
    assert one.get_position().x0 == pytest.approx(other.get_position().x0, abs=0.02)
    assert one.get_position().y0 > other.get_position().y1
    assert one.get_xscale() == "symlog"
    assert one.get_xlim()[0] < 0  # step 0 is to be seen
    assert (one.get_xlabel(), other.get_xlabel()) == ("", "training step")
    figure.canvas.draw()
    texts = [text for ax in figure.axes for text in (ax.title, ax.xaxis.label, ax.yaxis.label)]
    for artist in (*texts, *figure.legends):
        box = artist.get_window_extent()
        assert min(box.x0, box.y0) >= 0
        assert box.x1 <= figure.bbox.width
        assert box.y1 <= figure.bbox.height


def test_the_null_has_the_colour_of_its_curve_and_is_dashed() -> None:
    figure, rows = figure_of(series("the score", course(rising(50))), series("another", course(rising(100))))
    colours = []
    for ax in figure.axes:
        solid, dashed = (line for line in ax.lines if len(line.get_xdata()) == len(STEPS))
        assert solid.get_color() == dashed.get_color()
        assert (solid.get_linestyle(), dashed.get_linestyle()) == ("-", "--")
        colours.append(to_hex(solid.get_color()))
    assert len(set(colours)) == 2
    assert [row["value"] for row in rows if row["kind"] == "null"] == [0.3] * 2 * len(STEPS)


def test_the_onset_is_shaded() -> None:
    figure, rows = figure_of(series("the score", course(rising(50))), series("another", course(rising(10**9))))
    shaded = [[p.get_extents().transformed(ax.transData.inverted()) for p in ax.patches] for ax in figure.axes]
    ((box,), none) = shaded
    assert (box.x0, box.x1) == (pytest.approx(20), pytest.approx(50))
    assert none == []
    onsets = [(row["low"], row["high"]) for row in rows if row["kind"] == "onset"]
    assert onsets[0] == (20, 50)
    assert onsets[1][0] == 2000
    assert np.isnan(onsets[1][1])
    assert "the onset lies here" in labels(figure)
    assert "the onset lies here" not in labels(figure_of(series("another", course(rising(10**9))))[0])


def test_steps_that_do_not_count_are_seen_as_what_they_are() -> None:
    figure, rows = figure_of(series("the score", gaps()))
    (ax,) = figure.axes
    marks = {line.get_marker(): line.get_xdata().tolist() for line in ax.lines if line.get_linestyle() == "None"}
    assert marks == {"x": [10], "|": [50], "o": [20]}
    solid = max(ax.lines, key=lambda line: (line.get_linestyle() == "-", len(line.get_xdata())))
    assert not {10, 20, 50} & set(solid.get_xdata().tolist())
    by_kind = {row["kind"]: (row["at"], row["message"]) for row in rows}
    assert by_kind["failed"] == (10, "killed")
    assert by_kind["no number"] == (50, "none")
    assert by_kind["copy"][0] == 20
    assert {"failed", "no number", "copy of a step"} <= set(labels(figure))
    assert not {"failed", "copy of a step"} & set(labels(figure_of(series("s", course(rising(50))))[0]))


def test_seeds_are_thin_lines_with_their_mean() -> None:
    figure, rows = figure_of(series("the score", course(rising(50)), course(rising(100)), gaps()))
    (ax,) = figure.axes
    thin = [line for line in ax.lines if line.get_linewidth() == 0.5 and line.get_linestyle() == "-"]
    assert len(thin) == 3
    mean = {row["at"]: row["value"] for row in rows if row["series"] == "mean"}
    assert 10 not in mean  # one seed lacks it
    assert mean[100] == 1
    assert {row["n"] for row in rows if row["series"] == "mean"} == {3}
    assert {"mean over seeds", "one seed", "95 % t-interval over 3 seeds"} <= set(labels(figure))


def test_many_series_have_several_figures(tmp_path: Path) -> None:
    many = [series(f"measure {i}", course(rising(50))) for i in range(MOST_PANELS + 1)]
    found = timeline("toy", "seed", many)
    paths = draw(found, tmp_path, ("png",))
    assert [path.name for path in paths] == ["timeline.png", "timeline-2.png"]
