"""Paths of one model begin at one loss, or the legend says why they do not."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from mesascope.probes.drawing import page
from mesascope.probes.gd_alignment.figures.weights import plot_path
from mesascope.probes.measure import Measure, along


def path(start: float) -> Measure:
    values = start + np.array([0.0, 0.1, 0.05])
    bounds = (values - 0.01, values + 0.01)
    return Measure(values, "loss", bounds, "task", 9, ("t",), {"t": (0.0, 0.5, 1.0)}, no_nulls="a path")


def barrier() -> Measure:
    return Measure(np.array(0.1), "loss", (np.array(0.09), np.array(0.11)), "task", 9, no_nulls="a path")


@pytest.mark.parametrize(
    ("start", "said"), [(0.2063, "another seed, on 2,000 tasks: 0.1"), (0.2136, "another seed: 0.1")]
)
def test_a_path_measured_on_fewer_tasks_says_so(start: float, said: str) -> None:
    measures = {
        "loss_path": along("candidate", {"gd": along("path", {"aligned": path(0.2136)})}),
        "barrier": along("candidate", {"gd": along("path", {"aligned": barrier()})}),
        "loss_path_between_seeds": path(start),
        "barrier_between_seeds": barrier(),
    }
    with page.settings():
        ax = Figure((5, 3)).add_subplot()
        plot_path("gd", measures, ax, "to constructed GD")
    legend = ax.get_legend()
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    assert [label for label in labels if label.startswith(said)]
    assert all(label.startswith(said) for label in labels if "another seed" in label)
