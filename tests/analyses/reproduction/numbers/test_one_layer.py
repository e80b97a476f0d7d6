"""Figure 2, and other scales: one layer and one step of gradient descent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.reports.record import Record
from mesascope.analyses.reproduction.numbers.shifts import ELSEWHERE, largest_ratio
from mesascope.analyses.reproduction.panels import CurvePanel
from mesascope.analyses.reproduction.von_oswald_needs import OF_FIGURES

from .made_up import LAST, STEPS, Measured, by, expect, family, judged, number

RATIOS = {"loss_input_scale": [1.0, 1.1, 1.0], "loss_weight_scale": [1.0, 1.0, 0.9]}
"""Loss over that of gradient descent at three scales."""


MORE = 1.001
"""The ratios of the next seed over those of one."""


def shifted(name: str, seed: int, times: float = 1.0) -> Measured:
    axis, descent = "scale", np.array([0.1, 0.2, 0.8])
    coords = {axis: (0.5, 1.0, 2.0)}
    ours = number(descent * np.array(RATIOS.get(name, [1, 1, 1])) * times * MORE**seed, (axis,), coords)
    return {name: by("candidate", model=ours, gd=number(descent, (axis,), coords))}


def layer(gap: float = 0.01, cosine: float = 0.995, shift: float = 1.0, **more: Any) -> Record:
    """By the last step the loss has this gap, which differs by .001 between seeds."""

    def of(seed: int, step: int) -> Measured:
        far = 1 if step == LAST else 5
        return {
            "loss": by("candidate", model=0.2 * (1 + far * (gap + 0.001 * seed)), gd=0.2),
            "cosine": by("candidate", gd=cosine / far + 0.0001 * seed, ridge=0.1),
            "model_difference": by("candidate", gd=0.1 * far + 0.001 * seed, ridge=9.0),
            "prediction_difference": by("candidate", gd=0.02 * far + 0.001 * seed, ridge=9.0),
            "loss_interpolated": number(0.2 * (1 + far * 0.002 + 0.001 * seed)),
            **shifted("loss_input_scale", seed, shift),
            **shifted("loss_weight_scale", seed),
        }

    return family(of, **more)


def of_width(gap: float) -> Record:
    return family(
        lambda seed, step: {"loss": by("candidate", model=0.2 * (1 + gap + 0.001 * (seed - 1)), gd=0.2)}, steps=(LAST,)
    )


def reports(trained: Record, **gaps: float) -> dict[str, Record]:
    return {
        key: trained if key == "lsa-1layer" else of_width(gaps.get(key.rpartition("-")[2], 0.01))
        for key in OF_FIGURES[2]
    }


def test_one_step_is_reproduced() -> None:
    said, found = judged(2, reports(layer()))
    assert said == "reproduced"
    expect(found, "loss_gap", [0.01, 0.011, 0.012])
    expect(found, "cosine_gd", [0.995, 0.9951, 0.9952])
    expect(found, "model_difference_gd", [0.1, 0.101, 0.102])
    expect(found, "prediction_difference_gd", [0.02, 0.021, 0.022])
    expect(found, "interpolated_gap", [0.002, 0.003, 0.004])
    expect(found, "shift_ratio", [-np.log10(0.9 * MORE**seed) for seed in range(3)])


@pytest.mark.parametrize(
    ("wrong", "statistic"),
    [
        ({"gap": 0.03}, "loss_gap"),
        ({"gap": -0.03}, "loss_gap"),
        ({"cosine": 0.98}, "cosine_gd"),
        ({"shift": 0.6}, "shift_ratio"),
    ],
)
def test_what_leaves_a_bound_is_not(wrong: dict[str, float], statistic: str) -> None:
    said, found = judged(2, reports(layer(**wrong)))
    assert said == "not reproduced"
    assert statistic in found.statistics


def test_where_a_bound_is_inside_an_interval_nobody_can_tell() -> None:
    assert judged(2, reports(layer(gap=0.019)))[0] == "cannot tell"


@pytest.mark.parametrize("gap", [0.06, -0.06])
def test_the_widest_gap_counts_in_both_directions(gap: float) -> None:
    said, found = judged(2, reports(layer(), d30=gap))
    assert said == "not reproduced"
    expect(found, "widths_gap", [0.059, 0.06, 0.061])


def narrow(cosines: Sequence[float], losses: Sequence[float]) -> Record:
    return family(
        lambda seed, step: {
            "loss": by("candidate", model=losses[seed], gd=0.0382, zero=0.083),
            "cosine": by("candidate", gd=cosines[seed]),
        },
        steps=(LAST,),
    )


def test_narrow_models_that_learn_something_else_are_counted() -> None:
    """The gap there is a detail: the claim about all other widths holds."""
    held = {**reports(layer()), "lsa-1layer-d2": narrow((0.61, 1.0, 0.63), (0.064, 0.0382, 0.058))}
    said, found = judged(2, held)
    assert said == "differs"
    assert (
        "2 of 3 seeds learn something else than a step of gradient descent: cosine 0.62, loss 0.061" in found.notes[-1]
    )


@pytest.mark.parametrize(
    ("cosines", "losses", "said"),
    [((1.0, 0.99, 1.0), (0.0382, 0.0383, 0.0382), "reproduced"), ((0.1, 0.2, 0.1), (0.083, 0.0829, 0.083), "differs")],
    ids=["all take a step", "none has learned"],
)
def test_of_others_nothing_is_said(cosines: Sequence[float], losses: Sequence[float], said: str) -> None:
    outcome, found = judged(2, {**reports(layer()), "lsa-1layer-d2": narrow(cosines, losses)})
    assert outcome == said
    assert not any("something else" in note for note in found.notes)


def test_a_width_without_a_number_is_named() -> None:
    held = reports(layer())
    said, found = judged(2, {**held, "lsa-1layer-d40": family(lambda seed, step: {"cosine": number(1.0)})})
    assert said == "not measured"
    assert found.lacking == {"widths_gap": "N = d = 40: made-up 1 measured no loss"}


def test_panels_show_training_widths_and_scales() -> None:
    panels = {panel.title: panel for panel in judged(2, reports(layer()))[1].panels if isinstance(panel, CurvePanel)}
    loss = {curve.label: curve for curve in panels["loss"].curves}
    assert loss["trained"].x == STEPS
    np.testing.assert_allclose(loss["trained"].y, [0.2 * 1.055, 0.2 * 1.055, 0.2 * 1.011])
    assert loss["trained"].low is not None
    assert loss["gradient descent"].low is None  # the same for every seed: an interval over tasks is not drawn
    assert loss["interpolated"].role == "interpolated"
    assert panels["alignment"].curves[0].y[-1] == pytest.approx(0.9951)
    mean = (1 + MORE + MORE**2) / 3
    widths = panels["other widths"].curves[0]
    assert widths.x == (2, 5, 10, 20, 30, 40, 50)
    assert widths.y[2] == pytest.approx(0.2 * 1.011)
    assert panels["inputs' scale"].curves[0].y == pytest.approx((0.1 * mean, 0.22 * mean, 0.8 * mean))


def test_distributions_count_where_they_are_asked_for() -> None:
    far = family(lambda seed, step: {name: shifted(name, seed, 1 if name in RATIOS else 2)[name] for name in ELSEWHERE})
    np.testing.assert_allclose(largest_ratio(far, "gd", ELSEWHERE), [np.log10(2 * MORE**seed) for seed in range(3)])
