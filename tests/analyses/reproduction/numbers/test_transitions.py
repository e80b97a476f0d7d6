"""Figures 15 and 16: when seeds learn, and what a fixed set of tasks teaches."""

from __future__ import annotations

import numpy as np
import pytest
from mesascope.analyses.reports.record import Record
from mesascope.analyses.reproduction.numbers.transitions import crossing
from mesascope.analyses.reproduction.panels import CurvePanel
from mesascope.analyses.reproduction.von_oswald_needs import FIXED_SIZES

from .made_up import LAST, Measured, by, expect, family, judged, number, outcome

STEPS = tuple(range(0, 2001, 200))
SEEDS = tuple(range(10))


def learned(falls: dict[int, float], rises: dict[int, float], width: float = 200.0) -> Record:
    """Losses fall from .4 to .2, and cosines rise from 0 to 1, straight within `width` steps around a seed's own."""

    def of(seed: int, step: int) -> Measured:
        fallen, risen = (float(np.clip(0.5 + (step - at[seed]) / width, 0, 1)) + 1e-6 * seed for at in (falls, rises))
        return {"loss": by("candidate", model=0.4 - 0.2 * fallen, gd=0.2), "cosine": by("candidate", gd=risen)}

    return family(of, SEEDS, STEPS)


ONE = {seed: 500.0 + 100 * seed for seed in SEEDS}
TWO = {seed: 300.0 + 10 * seed for seed in SEEDS}


def test_alignment_that_rises_with_the_fall_is_reproduced() -> None:
    late = {seed: step + 50 * (seed % 2) for seed, step in ONE.items()}
    said, found = outcome(15, lsa_1layer_1head_10seeds=learned(ONE, late), lsa_1layer_2heads_10seeds=learned(TWO, TWO))
    assert said == "reproduced"
    assert found.statistics["seeds_aligned"].value == 1
    assert found.statistics["seeds_aligned"].n_seeds == 10
    assert found.statistics["fall_rise_correlation"].value == pytest.approx(1, abs=0.01)
    sooner = found.statistics["two_heads_sooner"]
    assert sooner.value == pytest.approx(345 / 950, rel=0.06)
    assert sooner.low < sooner.value < sooner.high < 0.6
    losses = found.panels[0]
    assert isinstance(losses, CurvePanel)
    assert [curve.label for curve in losses.curves] == ["one seed"] * 10 + ["gradient descent"]
    assert losses.curves[3].y[-1] == pytest.approx(0.2, abs=1e-4)


def test_a_rise_in_another_order_is_not() -> None:
    turned = {seed: 1900 - step for seed, step in ONE.items()}
    said, found = outcome(
        15, lsa_1layer_1head_10seeds=learned(ONE, turned), lsa_1layer_2heads_10seeds=learned(TWO, TWO)
    )
    assert said == "not reproduced"
    assert found.statistics["fall_rise_correlation"].value == pytest.approx(-1, abs=0.01)


def test_two_heads_that_are_as_late_are_not() -> None:
    both = learned(ONE, ONE)
    said, found = outcome(15, lsa_1layer_1head_10seeds=both, lsa_1layer_2heads_10seeds=both)
    assert said == "cannot tell"  # the interval of two medians of ten spread-out seeds is wide
    assert found.statistics["two_heads_sooner"].value == 1


def test_seeds_that_never_learn_count_as_not_aligned_and_fall_last() -> None:
    stuck = {**ONE, 3: 9000.0, 4: 9000.0}
    said, found = outcome(
        15, lsa_1layer_1head_10seeds=learned(stuck, stuck), lsa_1layer_2heads_10seeds=learned(TWO, TWO)
    )
    assert said == "not reproduced"
    assert found.statistics["seeds_aligned"].value == 0.8
    assert found.statistics["fall_rise_correlation"].n_seeds == 8
    median = np.median([9000 if seed in (3, 4) else step for seed, step in ONE.items()])
    assert found.statistics["two_heads_sooner"].value == pytest.approx(345 / median, rel=0.06)


def test_panels_end_at_twice_the_step_of_the_last_seed() -> None:
    early, late = {seed: 300.0 + 10 * seed for seed in SEEDS}, dict.fromkeys(SEEDS, 9000.0)
    for one, end in ((early, 600), (late, 2000)):
        _, found = outcome(
            15, lsa_1layer_1head_10seeds=learned(early, early), lsa_1layer_2heads_10seeds=learned(one, one)
        )
        panels = [panel for panel in found.panels if isinstance(panel, CurvePanel)]
        assert {curve.x[-1] for panel in panels for curve in panel.curves} == {end}
        assert all(len(curve.x) == len(curve.y) for panel in panels for curve in panel.curves)


def test_where_most_never_fall_there_is_no_median() -> None:
    late = dict.fromkeys(SEEDS, 9000.0)
    said, found = outcome(15, lsa_1layer_1head_10seeds=learned(late, late), lsa_1layer_2heads_10seeds=learned(TWO, TWO))
    assert said == "not measured"
    assert found.lacking["two_heads_sooner"] == "10 of 10 seeds do not fall within the training"
    assert found.lacking["fall_rise_correlation"].startswith("0 seeds fall and rise")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([4.0, 4.0, 2.0, 0.0], 150.0),
        ([4.0, 2.0, 4.0, 0.0], 225.0),  # the last time counts
        ([1.0, 1.0, 1.0, 1.0], 0.0),
        ([4.0, 0.0, 0.0, 4.0], float("inf")),
        ([4.0, np.nan, 0.0, 0.0], float("nan")),
    ],
)
def test_a_crossing_is_straight_between_checkpoints(values: list[float], expected: float) -> None:
    falling = crossing((0, 100, 200, 300), np.array(values), 3.0, rising=False)
    np.testing.assert_allclose(falling, expected)
    np.testing.assert_allclose(crossing((0, 100, 200, 300), -np.array(values), -3.0, rising=True), expected)


def on_fixed_tasks(gap: float, cosine: float) -> Record:
    def of(seed: int, step: int) -> Measured:
        done = step == LAST
        return {
            "loss": by("candidate", model=0.2 * (1 + gap + 0.001 * seed) if done else 0.4, gd=0.2),
            "cosine": by("candidate", gd=cosine + 0.001 * seed if done else 0.0),
        }

    return family(of)


def fixed(**more: tuple[float, float]) -> dict[str, Record]:
    held = {"128": (0.5, 0.6), "512": (0.2, 0.8), "2048": (0.05, 0.96), "8192": (0.01, 0.98)}
    return {f"lsa-1layer-fixed-{size}": on_fixed_tasks(*(held | more)[str(size)]) for size in FIXED_SIZES}


def test_many_tasks_align_and_few_do_not() -> None:
    said, found = judged(16, fixed())
    assert said == "reproduced"
    expect(found, "fixed_2048_cosine", [0.96, 0.961, 0.962])
    expect(found, "fixed_8192_cosine", [0.98, 0.981, 0.982])
    expect(found, "fixed_2048_gap", [0.05, 0.051, 0.052])
    expect(found, "fixed_128_gap", [0.5, 0.501, 0.502])
    loss = found.panels[0]
    assert isinstance(loss, CurvePanel)
    assert loss.y_max == 0.8
    assert [curve.label for curve in loss.curves] == [
        "128 tasks", "512 tasks", "2,048 tasks", "8,192 tasks", "gradient descent"
    ]  # fmt: skip


@pytest.mark.parametrize("wrong", [{"128": (0.05, 0.9)}, {"2048": (0.2, 0.96)}, {"8192": (0.01, 0.9)}])
def test_otherwise_it_is_not_reproduced(wrong: dict[str, tuple[float, float]]) -> None:
    assert judged(16, fixed(**wrong))[0] == "not reproduced"


def test_one_step_has_no_transitions() -> None:
    alone = family(lambda seed, step: {"loss": number(seed), "cosine": number(seed)}, SEEDS, (LAST,))
    said, found = outcome(15, lsa_1layer_1head_10seeds=alone, lsa_1layer_2heads_10seeds=alone)
    assert said == "not measured"
    assert all(panel.curves == () for panel in found.panels if isinstance(panel, CurvePanel))
