"""Figures 4 and 5: sines behind an embedding, and x and y in tokens of their own."""

from __future__ import annotations

import numpy as np
import pytest
from mesascope.analyses.reports.record import Record
from mesascope.analyses.reproduction.panels import CurvePanel

from .made_up import LAST, Measured, by, expect, family, number, outcome


def sines(loss: float = 0.002, twin: float = 0.002, distance: float = 0.02, sign: float = 0.9) -> Record:
    """Answering zero has a loss of .03."""

    def of(seed: int, step: int) -> Measured:
        more = 0.0001 * seed + (0 if step == LAST else 5)
        return {
            "loss": by("candidate", model=loss + more, zero=0.03, twin=twin, feature_gd=9.0),
            "prediction_difference": by("candidate", feature_gd=9.0, twin=distance + more),
            "slope_agreement": by("candidate", feature_gd=0.0, twin=sign + more),
        }

    grid = np.tile([-1.0, 0.0, 1.0], (3, 2, 1))
    functions = {f"function_{name}": np.arange(18.0).reshape(3, 2, 3) + at for at, name in
                 enumerate(("target", "model", "twin"))}  # fmt: skip
    return family(of, function_grid=grid, **functions)


def test_sines_answered_as_the_twin_does_are_reproduced() -> None:
    said, found = outcome(4, sine_mlp=sines())
    assert said == "reproduced"
    expect(found, "sine_loss_over_zero", [0.2 / 3, 0.21 / 3, 0.22 / 3])
    expect(found, "sine_loss_ratio", [1, 1.05, 1.1])
    expect(found, "sine_prediction_difference", [0.02, 0.0201, 0.0202])
    expect(found, "sine_sign_agreement", [0.9, 0.9001, 0.9002])
    task = found.panels[0]
    assert isinstance(task, CurvePanel)
    assert {curve.label: (curve.x, curve.y) for curve in task.curves} == {
        "sine": ((-1, 0, 1), (0, 1, 2)),
        "trained": ((-1, 0, 1), (1, 2, 3)),
        "twin with a written step": ((-1, 0, 1), (2, 3, 4)),
    }


@pytest.mark.parametrize("wrong", [{"loss": 0.02}, {"twin": 0.001}, {"distance": 0.2}, {"sign": 0.5}])
def test_other_answers_are_not(wrong: dict[str, float]) -> None:
    assert outcome(4, sine_mlp=sines(**wrong))[0] == "not reproduced"


def test_without_a_twin_it_is_not_measured() -> None:
    alone = family(lambda seed, step: {"loss": by("candidate", model=0.002 + seed * 1e-5, zero=0.03)})
    said, found = outcome(4, sine_mlp=alone)
    assert said == "not measured"
    assert found.lacking["sine_loss_ratio"] == "loss: candidate 'twin' is not there; it has model, zero"


STEPS = (0, *(round(10 ** (2 + 0.1 * i)) for i in range(21)))
"""From 100 to 10,000 in tenths of a decade."""


def copies(
    gap: float = 0.02, plateau: float = 1.0, ratio: tuple[float, float] = (0.01, 0.7), score: float = 0.5,
    ablated: float = 3.0,
) -> Record:  # fmt: skip
    """Losses stay where they begin for `plateau` decades, and fall evenly from there to the end. Even attention is a
    score of .1.
    """

    def of(seed: int, step: int) -> Measured:
        learned = 0.0 if step == 0 else max(0.0, (np.log10(step) - 2 - plateau) / (2 - plateau))
        more = 0.001 * seed
        loss = 0.4 + (0.2 * (1 + gap) - 0.4) * learned + 1e-6 * seed
        return {
            "loss": by("candidate", model=loss, gd=0.2, without_copies=0.45 + more),
            "loss_gap": by("candidate", model=gap + more + 1 - learned, ablated=ablated + more + 1 - learned),
            "next_over_own": number(ratio[0] + (ratio[1] - ratio[0]) * learned + more),
            "copy_sensitivity": by("to", own=3 + more, next=learned + more, other=0.1 + more, other_without_next=more),
            "first_layer_score": number(
                0.1 + (score - 0.1) * learned + more, nulls={"even attention": np.array([0.1]), "untrained": [0.7]}
            ),
        }

    return family(of, steps=STEPS)


def test_copies_after_a_plateau_are_reproduced() -> None:
    said, found = outcome(5, separate_tokens=copies())
    assert said == "reproduced"
    expect(found, "separate_gap", [0.02, 0.021, 0.022])
    expect(found, "next_over_own_last", [0.7, 0.701, 0.702])
    expect(found, "next_over_own_first", [0.01, 0.011, 0.012])
    expect(found, "prefix_matching_excess", [0.4, 0.401, 0.402])
    assert found.statistics["ablation_gap"].value == pytest.approx((4 * 4.001 * 4.002) ** (1 / 3) - 1)
    assert found.statistics["plateau_decades"].value == pytest.approx(1.0, abs=0.01)
    loss, sensitivity, score = (panel for panel in found.panels if isinstance(panel, CurvePanel))
    assert [curve.label for curve in loss.curves] == ["trained", "gradient descent", "labels not copied"]
    assert {curve.label: round(curve.y[-1], 2) for curve in sensitivity.curves} == {
        "own token": 3.0, "next token": 1.0, "others, as published": 0.1, "others": 0.0
    }  # fmt: skip
    assert score.curves[1].y == pytest.approx([0.1] * len(STEPS))


@pytest.mark.parametrize(
    "wrong",
    [{"gap": 0.1}, {"plateau": 0.0}, {"ratio": (0.01, 0.1)}, {"ratio": (0.3, 0.7)}, {"score": 0.2}, {"ablated": 0.1}],
)
def test_what_leaves_a_bound_is_not(wrong: dict) -> None:
    assert outcome(5, separate_tokens=copies(**wrong))[0] == "not reproduced"


def test_a_plateau_at_the_end_is_where_training_ends() -> None:
    def of(seed: int, step: int) -> Measured:
        fallen = min(1.0, 0.0 if step == 0 else (np.log10(step) - 2) / 0.5)
        return {**copies_at_end, "loss": by("candidate", model=0.4 - 0.2 * fallen + 1e-6 * seed, gd=0.2)}

    copies_at_end = {"next_over_own": number(0.7)}
    _, found = outcome(5, separate_tokens=family(of, steps=STEPS))
    assert found.statistics["plateau_decades"].value == 0


def test_few_steps_tell_no_plateau() -> None:
    few = family(lambda seed, step: {"loss": by("candidate", model=1 - step / 500 + 0.01 * seed, gd=0.2)})
    said, found = outcome(5, separate_tokens=few)
    assert said == "not measured"
    assert found.lacking["plateau_decades"] == "loss: 2 steps after step 0, and plateaus take at least 8 to tell"
    assert found.lacking["prefix_matching_excess"] == "made-up 1 measured no first_layer_score"


def test_losses_without_the_layer_may_differ_in_orders_of_size() -> None:
    def of(seed: int, step: int) -> Measured:
        return {"loss_gap": by("candidate", model=0.01 + 0.001 * seed, ablated=(10.0**seed) * 10 - 1)}

    _, found = outcome(5, separate_tokens=family(of))
    gap = found.statistics["ablation_gap"]
    assert gap.value == pytest.approx(99)  # of 9, 99 and 999
    assert gap.low == pytest.approx(10 ** (2 - 4.302652729911275 / 3**0.5) - 1)


def test_a_sharp_transition_does_not_hide_the_plateau_before_it() -> None:
    steps = (0, 500, 1000, 2000, 4000, 6000, 8000, 10000, 12000, 14000)
    losses = (0.9, 0.4124, 0.4138, 0.4124, 0.4125, 0.218, 0.2136, 0.2126, 0.2126, 0.2126)

    def of(seed: int, step: int) -> Measured:
        return {"loss": by("candidate", model=losses[steps.index(step)] + 1e-5 * seed, gd=0.2)}

    _, found = outcome(5, separate_tokens=family(of, steps=steps))
    assert found.statistics["plateau_decades"].value == pytest.approx(np.log10(8))
