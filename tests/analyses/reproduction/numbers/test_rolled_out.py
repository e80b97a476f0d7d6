"""Figures 1 and 10: one layer that is applied again and again."""

from __future__ import annotations

import numpy as np
import pytest
from mesascope.analyses.reports.record import Record
from mesascope.analyses.reproduction.numbers.rolled_out import OVERFLOW, RATIOS, THIN
from mesascope.analyses.reproduction.panels import CurvePanel

from .made_up import LAST, SEEDS, Measured, by, expect, family, number, outcome

FALL = {0: 0.2, 1: 0.25, 2: 0.3}
"""The last damped loss over the first, by seed."""


def rolled(fall: dict[int, float] = FALL, off: float = 0.004, growth: float = 100.0) -> Record:
    """Losses fall to `fall` by a damping of 3/4, and grow `growth` times or more without one; GD is `off` at one
    application, of losses that begin at .2. At earlier steps of training, and by 7/8, it is all otherwise.
    """
    applications = np.arange(50)

    def of(seed: int, step: int) -> Measured:
        damped = 0.2 * fall[seed] ** (applications / 49)
        undamped = 0.2 * (growth * 2**seed) ** (applications / 24)
        undamped[25:] = np.nan
        model = np.stack([undamped, 0.2 * 0.01 ** (applications / 49), damped]) * (1 if step == LAST else 7)
        descent = model + 0.001
        descent[2, 30] += off - 0.001
        coords = {"dampening": (1.0, 0.875, 0.75), "rollout_step": tuple(range(1, 51))}
        parts = {"model": model, "gd": descent}
        return {
            "loss_rollout": by(
                "candidate", **{name: number(at, ("dampening", "rollout_step"), coords) for name, at in parts.items()}
            )
        }

    return family(of)


def test_a_layer_that_falls_as_gradient_descent_does_is_reproduced() -> None:
    said, found = outcome(1, lsa_1layer=rolled())
    assert said == "reproduced"
    expect(found, "rollout_gap", [0.02, 0.02, 0.02])
    assert found.statistics["rollout_fall"].value == pytest.approx((0.2 * 0.25 * 0.3) ** (1 / 3))
    (panel,) = found.panels
    assert isinstance(panel, CurvePanel)
    assert {curve.label: len(curve.x) for curve in panel.curves} == {"trained layer": 50, "gradient descent": 50}
    assert panel.curves[0].y[0] == pytest.approx(0.2)
    assert panel.curves[0].low is not None


@pytest.mark.parametrize("wrong", [{"off": 0.02}, {"fall": dict.fromkeys(SEEDS, 0.6)}])
def test_one_that_does_not_is_not(wrong: dict) -> None:
    assert outcome(1, lsa_1layer=rolled(**wrong))[0] == "not reproduced"


def test_where_one_seed_does_not_nobody_can_tell() -> None:
    assert outcome(1, lsa_1layer=rolled(fall={**FALL, 2: 0.9}))[0] == "cannot tell"


def test_a_difference_that_is_no_number_is_not_small() -> None:
    said, found = outcome(1, lsa_1layer=rolled(off=np.nan))
    assert said == "not measured"
    assert set(found.lacking) == {"rollout_gap"}


def test_undamped_it_grows_by_more_than_its_last_finite_loss_says() -> None:
    said, found = outcome(10, lsa_1layer=rolled())
    assert said == "reproduced"
    assert found.statistics["undamped_growth"].value == pytest.approx(200)  # of 100, 200 and 400
    assert found.statistics["damped_fall"] == outcome(1, lsa_1layer=rolled())[1].statistics["rollout_fall"]
    assert [panel.title for panel in found.panels] == ["undamped", "damped by 0.875", "damped by 0.75"]
    first = found.panels[0]
    assert isinstance(first, CurvePanel)
    assert first.log_y
    assert [curve.label for curve in first.curves] == ["trained layer"] * 3 + ["gradient descent"]
    assert first.curves[1].y[24] == pytest.approx(0.2 * 200)
    assert not np.isfinite(first.curves[1].y[25])
    assert first.y_max == pytest.approx(200)
    second = found.panels[1]
    assert isinstance(second, CurvePanel)
    assert (len(second.curves), second.log_y) == (2, False)
    assert found.notes == (RATIOS, OVERFLOW, THIN)


def test_a_layer_that_is_stable_without_damping_is_not_reproduced() -> None:
    assert outcome(10, lsa_1layer=rolled(growth=0.05))[0] == "not reproduced"


def test_without_a_roll_out_nothing_is_judged_or_drawn() -> None:
    said, found = outcome(10, lsa_1layer=family(lambda seed, step: {"loss": number(1.0)}))
    assert said == "not measured"
    assert found.lacking["undamped_growth"] == "made-up 1 measured no loss_rollout"
    assert all(panel.curves == () for panel in found.panels if isinstance(panel, CurvePanel))
    assert found.notes == (RATIOS, OVERFLOW)


def test_a_seed_without_any_number_is_counted() -> None:
    def of(seed: int, step: int) -> Measured:
        coords = {"dampening": (1.0, 0.875, 0.75), "rollout_step": (1, 2)}
        losses = np.full((3, 2), np.nan if seed == 1 else 0.2 + seed)
        return {"loss_rollout": by("candidate", model=number(losses, ("dampening", "rollout_step"), coords))}

    said, found = outcome(10, lsa_1layer=family(of))
    assert said == "not measured"
    assert found.lacking["damped_fall"] == "loss_rollout: 1 of 3 seeds have no number"
