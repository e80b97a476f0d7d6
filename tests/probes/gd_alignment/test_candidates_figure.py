"""The matrix of candidates: numbers that are legible on their colours, and nothing where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from mesascope.probes.gd_alignment.figures.behaviour import plot_candidates
from mesascope.probes.measure import Measure

NAMES = ("gd", "gd_1", "gd_2", "ridge")


def matrix(values: np.ndarray) -> Measure:
    axes = ("candidate", "other_candidate")
    return Measure(
        values, "cosine", (values - 0.01, values), "task", 500, axes, dict.fromkeys(axes, NAMES),
        no_nulls="candidates are compared with each other", message="one is not defined",
    )  # fmt: skip


def brightness(color: Any) -> float:
    """The L* of CIE 1976, from the luminance of an sRGB colour: 0 is black, 100 white."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    luminance = 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]
    return 116 * luminance ** (1 / 3) - 16 if luminance > 0.008856 else 903.3 * luminance


def test_numbers_are_legible_on_their_colours_and_a_missing_one_is_left_out() -> None:
    values = np.array(
        [[1.0, 0.98, 0.3, 0.55], [0.98, 1.0, 0.7, 0.85], [0.3, 0.7, 1.0, np.nan], [0.55, 0.85, np.nan, 1.0]]
    )
    ax = Figure().add_subplot()
    plot_candidates(matrix(values), None, ax, "candidates", cell=0.4)
    texts = {tuple(int(c) for c in reversed(text.get_position())): text for text in ax.texts}
    assert set(texts) == {(i, j) for i in range(4) for j in range(4) if np.isfinite(values[i, j])}
    for (i, j), text in texts.items():
        assert float(text.get_text()) == values[i, j]
        cell = colormaps["cividis"]((values[i, j] - 0.3) / 0.7)[:3]  # colours begin at the tenth below the smallest
        assert abs(brightness(str(text.get_color())) - brightness(cell)) > 40
