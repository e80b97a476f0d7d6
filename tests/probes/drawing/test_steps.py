"""The axis of training steps gives most of its width to what happens, and says so where it is not to scale."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure
from mesascope.probes.drawing import page, panels, steps
from mesascope.probes.drawing.marks import BLUE, Look
from mesascope.probes.findings import Findings
from mesascope.probes.measure import Measure

PHASE_CHANGE = (0, 500, 1000, 1300, 1400, 1450, 1500, 1600, 2000, 4000)


def over(at: Sequence[float], values: np.ndarray) -> Measure:
    return Measure(
        values, "nat", (values, values), "task", 9, ("step",), {"step": tuple(at)}, no_nulls="none", message="made up"
    )


def sigmoid(at: Sequence[float], middle: float, width: float) -> Measure:
    return over(at, 1 / (1 + np.exp(-(np.array(at, dtype=float) - middle) / width)))


def test_change_at_even_pace_keeps_the_axis_linear() -> None:
    at = range(0, 5001, 500)
    assert steps.kind_of([over(at, np.arange(11.0))]) == "linear"


def test_change_at_the_beginning_makes_it_logarithmic() -> None:
    at = (0, 1, 2, 5, 10, 20, 50, 100, 1000, 10_000)
    decays = np.exp(-np.log1p(np.array(at, dtype=float)))
    assert steps.kind_of([over(at, decays)]) == "logarithmic"


def test_change_between_checkpoints_that_lie_close_makes_it_even() -> None:
    change = sigmoid(PHASE_CHANGE, 1430, 30)
    assert steps.kind_of([change]) == "even"
    # and what happens between steps 1300 and 1600 takes far more of the width than to scale
    between = slice(3, 7)
    assert steps._widths("even", PHASE_CHANGE)[between].sum() > 5 * steps._widths("linear", PHASE_CHANGE)[between].sum()


def test_an_axis_that_is_hardly_better_is_not_chosen() -> None:
    """Checkpoints at nearly equal distances: at equal ones change would agree with the width a twelfth better."""
    at = (0, 100, 200, 300, 450)
    assert steps.kind_of([over(at, np.arange(5.0))]) == "linear"


def test_a_panel_drawn_alone_has_the_axis_of_its_figure() -> None:
    even, linear = sigmoid(PHASE_CHANGE, 1430, 30), over(PHASE_CHANGE, np.array(PHASE_CHANGE) / 4000)
    drawn = {"changes at once": {Look("a", BLUE): even}, "changes all the time": {Look("b", BLUE): linear}}
    assert [steps.kind_of([measure]) for (measure,) in (found.values() for found in drawn.values())] == [
        "even",
        "linear",
    ]

    def labels_of(panel: str | None) -> set[str]:
        found = page.compose(
            lambda findings, page: panels.curves_figure(drawn, page), Findings({}, {}, {}), panel=panel
        )
        assert found is not None
        return {ax.get_xlabel() for ax in found[0].axes}

    assert labels_of(None) == labels_of("1") == labels_of("2")


def test_what_does_not_change_or_has_no_number_has_no_say() -> None:
    nothing = [over(PHASE_CHANGE, np.full(10, 2.0)), over(PHASE_CHANGE, np.full(10, np.nan))]
    assert steps.kind_of(nothing) == "linear"
    assert steps.kind_of([*nothing, sigmoid(PHASE_CHANGE, 1430, 30)]) == "even"
    assert steps.kind_of([]) == "linear"
    assert steps.kind_of([over((0, 4000), np.array([0.0, 1.0]))]) == "linear"


@pytest.mark.parametrize("kind", ["linear", "logarithmic", "even"])
def test_widths_are_where_the_axis_puts_the_steps(kind: steps.Kind) -> None:
    """The shares that the choice is made by are those of the axis as matplotlib draws it."""
    with page.settings():
        ax = Figure((6, 2)).add_subplot()
        ax.plot(PHASE_CHANGE, np.zeros(10))
        steps.set_axis(ax, PHASE_CHANGE, kind)
        x = ax.transData.transform([(step, 0.0) for step in PHASE_CHANGE])[:, 0]
    np.testing.assert_allclose(np.diff(x) / (x[-1] - x[0]), steps._widths(kind, PHASE_CHANGE), atol=1e-9)


def labels(kind: steps.Kind, at: Sequence[float], width: float) -> list[str]:
    with page.settings():
        figure = Figure((width, 2), dpi=100)
        ax = figure.add_subplot()
        ax.plot(at, np.zeros(len(at)))
        steps.set_axis(ax, at, kind)
        figure.draw_without_rendering()
        boxes = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
        assert not any(a.overlaps(b) for a, b in pairwise(boxes))
    return [label.get_text() for label in ax.get_xticklabels()]


def test_an_even_axis_labels_as_many_checkpoints_as_there_is_room_for() -> None:
    assert labels("even", PHASE_CHANGE, 8.0) == [str(step) for step in PHASE_CHANGE]
    few = labels("even", PHASE_CHANGE, 1.5)
    assert (few[0], few[-1]) == ("0", "4000")
    assert 2 <= len(few) < 6


def test_a_logarithmic_axis_has_step_0_decades_and_the_last_step() -> None:
    assert labels("logarithmic", (0, 100, 300, 1000, 5000), 6.0) == ["0", "100", "1000", "5000"]
    assert labels("logarithmic", (0, 100, 300, 1000, 1500), 1.5)[-1] == "1500"  # and no 1000 upon it


def test_an_axis_that_is_not_to_scale_says_so() -> None:
    ax = Figure((6, 2)).add_subplot()
    steps.set_axis(ax, PHASE_CHANGE, "even")
    assert "not to scale" in ax.get_xlabel()
    steps.set_axis(ax, PHASE_CHANGE, "linear")
    assert ax.get_xlabel() == "training step"


def test_a_step_is_labelled_as_what_it_is() -> None:
    labels = [steps._step_label(step) for step in (0, 1, 512, 1000, 10_000, 64_000, 143_000, 1_000_000)]
    assert labels == ["0", "1", "512", "1000", "$10^{4}$", "64000", "143000", "$10^{6}$"]
