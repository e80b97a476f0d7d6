"""Marks collected by their look: the picture is that of one artist a mark, drawn one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mesascope.probes.drawing import marks, page
from mesascope.probes.drawing.strokes import Strokes
from mesascope.probes.measure import Measure

LINE = {"color": "#0072B2", "lw": 1.2, "solid_capstyle": "butt", "zorder": 2.001}
GREY = {**LINE, "color": "#8C8C8C", "zorder": 1.5}
DOT = {"ls": "", "marker": "s", "ms": 4, "color": "#D55E00", "zorder": 2.002}


def measured(value: float, points: bool) -> Measure:
    bounds = (np.asarray(value - 0.1), np.asarray(value + 0.2))
    seeds = value + np.linspace(-0.1, 0.1, 5) if points else None
    nulls = {"untrained": np.linspace(0, 0.2, 9), "shuffled": np.linspace(0.1, 0.3, 9)}
    return Measure(np.asarray(value), "score", bounds, "seed", 5, nulls=nulls, points=seeds)


ENTRIES = [(marks.Look(f"row {i}", "#0072B2" if i % 2 else "#000000", "os^"[i % 3]), measured(0.3 * i, i % 2 > 0))
           for i in range(6)]  # fmt: skip


def pixels(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).copy()


@pytest.fixture
def marked() -> list[tuple[list[float], list[float], dict[str, Any]]]:
    """A line, a grey line below it and a dot above it, in each of seven rows at odd places."""
    rng = np.random.default_rng(0)
    found = []
    for y in range(7):
        low, middle, high = sorted(rng.random(3).tolist())
        found += [([low, high], [y + 0.1, y + 0.1], GREY), ([middle, high], [y, y], LINE), ([middle], [y], DOT)]
    return found


def test_the_picture_is_that_of_one_artist_a_mark(
    marked: list[tuple[list[float], list[float], dict[str, Any]]],
) -> None:
    one_each, collected = Figure((3, 2), dpi=300), Figure((3, 2), dpi=300)
    ax, strokes = one_each.add_subplot(), Strokes()
    for x, y, style in marked:
        ax.plot(x, y, **style)
        strokes.add(x, y, **style)
    together = collected.add_subplot()
    strokes.draw(together)
    assert (len(ax.lines), len(together.lines)) == (21, 3)
    np.testing.assert_array_equal(pixels(collected), pixels(one_each))


def shared_panels(n: int) -> tuple[Figure, list[Axes]]:
    with page.settings():
        figure = Figure((4, 2), dpi=200)
        axes = list(figure.subplots(1, n, sharey=True, squeeze=False).flat)
        for ax in axes:
            marks.rows(ENTRIES, ax)
    return figure, axes


def test_rows_have_as_many_artists_as_looks() -> None:
    _, (ax,) = shared_panels(1)
    nulls, points, intervals, estimates = 2 * 2, 1, 2, 6
    assert len(ax.lines) == nulls + points + intervals + estimates


def test_rows_of_shared_panels_are_named_at_the_first_and_the_picture_is_that_of_drawing_every_axis() -> None:
    figure, axes = shared_panels(3)
    assert [ax.yaxis.get_visible() for ax in axes] == [True, False, False]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == [f"row {i}" for i in range(6)]
    with page.settings():
        hidden = pixels(figure)
        for ax in axes:
            ax.yaxis.set_visible(True)
        np.testing.assert_array_equal(pixels(figure), hidden)
