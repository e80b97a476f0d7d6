"""Axes that are not linear put numbers where they belong, and label them plainly."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from mesascope.probes.drawing import page, scales


def test_numbers_of_several_sizes_on_both_sides_of_0_are_told_apart() -> None:
    with page.settings():
        ax = Figure((3, 2)).add_subplot()
        ax.plot([0, 1, 2, 3], [-37, 2, 0.2, 37])
        scales.signed_log_scale(ax, "y")
        y = ax.transAxes.inverted().transform(ax.transData.transform([(0, v) for v in (-37, 0, 0.2, 2, 37)]))[:, 1]
    np.testing.assert_allclose(y - y[1], (np.arcsinh([-37, 0, 0.2, 2, 37]) / np.arcsinh(37)) * (y[4] - y[1]), atol=1e-9)
    assert y[3] - y[1] > 0.15  # on a linear axis it is .02
    labels = [ax.yaxis.get_major_formatter()(tick) for tick in ax.get_yticks()]
    assert labels == ["−30", "−10", "−3", "−1", "0", "1", "3", "10", "30"]


def test_numbers_of_one_size_keep_a_linear_axis() -> None:
    with page.settings():
        ax = Figure((3, 2)).add_subplot()
        ax.plot([0, 1], [-0.5, 2])
        scales.signed_log_scale(ax, "y")
    assert ax.get_yscale() == "linear"


def test_decades_that_are_few_have_ticks_between_them() -> None:
    with page.settings():
        ax = Figure((3, 2)).add_subplot()
        ax.plot([0, 1], [2, 150])
        scales.log_scale(ax, "y")
        low, high = ax.get_ylim()
        shown = [scales.tick_label(tick) for tick in ax.get_yticks() if low <= tick <= high]
    assert len(shown) >= 3
