"""Minor ticks as one artist: the picture is that of matplotlib's own."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from mesascope.probes.drawing import page, scales
from mesascope.probes.drawing.minor_ticks import MinorTicks


def picture(ours: bool, which: Literal["x", "y"], *reaches: float) -> np.ndarray:
    """Panels that share a logarithmic axis, each with a line over so many decades."""
    with page.settings():
        figure = Figure(figsize=(3, 2), layout="constrained")
        canvas = FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(reaches), sharex=True, sharey=True, squeeze=False)
        for ax, reach in zip(panels.flat, reaches, strict=True):
            assert isinstance(ax, Axes)
            line = [2.0, 10.0**reach], [0.0, 1.0]
            ax.plot(*(line if which == "x" else line[::-1]))
            scales.log_scale(ax, which)
            if not ours:
                use_matplotlibs(ax, which)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba()).copy()


def use_matplotlibs(ax: Axes, which: Literal["x", "y"]) -> None:
    (mine,) = (line for line in ax.get_children() if isinstance(line, MinorTicks))
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_minor_locator(mine._locator)
    axis.set_minor_formatter(NullFormatter())
    mine.remove()


@pytest.mark.parametrize("which", ["x", "y"])
@pytest.mark.parametrize("reaches", [(0.9,), (3,), (8,), (2, 4)])
def test_the_picture_is_the_same(which: Literal["x", "y"], reaches: tuple[float, ...]) -> None:
    np.testing.assert_array_equal(picture(True, which, *reaches), picture(False, which, *reaches))


def test_there_are_ticks_where_the_axis_ends_when_it_is_drawn() -> None:
    figure = Figure()
    canvas = FigureCanvasAgg(figure)
    ax = figure.add_subplot(xlim=(1, 10), xscale="log")
    ticks = MinorTicks(ax, "x")
    ax.set_xlim(10, 100)
    canvas.draw()
    np.testing.assert_allclose(ticks.get_xdata(), np.arange(20, 100, 10))
    assert len(ax.xaxis.get_minor_ticks()) <= 1
