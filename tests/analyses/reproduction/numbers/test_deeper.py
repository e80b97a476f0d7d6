"""Figures 3, 6, 7 and 8: several layers beside steps of gradient descent and GD++."""

from __future__ import annotations

import numpy as np
import pytest
from mesascope.analyses.reports.record import Record
from mesascope.analyses.reproduction.numbers.shifts import ELSEWHERE
from mesascope.probes.measure import Measure

from .made_up import LAST, Measured, by, expect, family, number, outcome


def layers(loss: float = 0.11, cosine: float = 0.995, to_gd: float = 0.9) -> Record:
    """Gradient descent has a loss of .2, and GD++ of .11."""

    def of(seed: int, step: int) -> Measured:
        learned = step == LAST
        return {
            "loss": by("candidate", model=loss + 0.0001 * seed if learned else 0.4, gd=0.2, gdpp=0.11),
            "cosine": by("candidate", gd=to_gd, gdpp=cosine - 0.001 * seed if learned else 0.1),
            "prediction_difference": by("candidate", gd=0.1, gdpp=0.01),
        }

    return family(of)


def test_several_layers_are_reproduced() -> None:
    said, found = outcome(3, lsa_2layer_recurrent=layers(), lsa_5layers=layers(0.115, 0.95))
    assert said == "reproduced"
    expect(found, "two_layers_over_gd", [0.55, 0.5505, 0.551])
    expect(found, "two_layers_gap_gdpp", [0, 0.01 / 11, 0.02 / 11])
    expect(found, "two_layers_cosine_gdpp", [0.995, 0.994, 0.993])
    expect(found, "two_layers_cosine_ahead", [0.095, 0.094, 0.093])
    expect(found, "five_layers_over_gd", [0.575, 0.5755, 0.576])
    expect(found, "five_layers_off_gdpp", [0.005, 0.0051, 0.0052])
    expect(found, "five_layers_cosine_gdpp", [0.95, 0.949, 0.948])
    titles = [panel.title for panel in found.panels]
    assert titles[::3] == ["two layers: loss", "five layers: loss"]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize(
    ("two", "five", "expected"),
    [
        (layers(0.195), layers(), "not reproduced"),
        (layers(to_gd=0.999), layers(), "not reproduced"),
        (layers(), layers(0.15), "not reproduced"),
        (layers(), layers(cosine=0.8), "differs"),
    ],
)
def test_what_leaves_a_bound_is_not_and_a_detail_differs(two: Record, five: Record, expected: str) -> None:
    assert outcome(3, lsa_2layer_recurrent=two, lsa_5layers=five)[0] == expected


def test_two_layers_and_five_are_not_confused() -> None:
    _, found = outcome(3, lsa_2layer_recurrent=layers(0.11), lsa_5layers=layers(0.15))
    assert found.statistics["two_layers_over_gd"].value < 0.6 < found.statistics["five_layers_over_gd"].value


def elsewhere(candidate: str, ratio: float) -> Record:
    """The loss over that of the candidate is `ratio` at one place of one measure, and 1 elsewhere."""

    def measured(name: str, seed: int) -> Measure:
        losses = np.array([[0.1, 0.2], [0.3, 0.4]])
        ours = losses[0] * np.array([1, ratio * 1.001**seed if name == "loss_other_distributions" else 1])
        others = {"gd": losses[1], "gdpp": losses[1]} | {candidate: losses[0]}
        parts = {"model": ours, **others}
        coords = {"input_range": (1.0, 2.0)}
        return by("candidate", **{key: number(at, ("input_range",), coords) for key, at in parts.items()})

    return family(lambda seed, step: {name: measured(name, seed) for name in ELSEWHERE})


def test_other_tasks_are_compared_with_one_step_of_gd_and_with_gdpp() -> None:
    one, two, five = elsewhere("gd", 1.2), elsewhere("gdpp", 0.8), elsewhere("gdpp", 1.9)
    said, found = outcome(6, lsa_1layer=one, lsa_2layer_recurrent=two, lsa_5layers=five)
    assert said == "reproduced"
    for name, ratio in {"shift_ratio_1": 1.2, "shift_ratio_2": 0.8, "shift_ratio_5": 1.9}.items():
        expect(found, name, [abs(np.log10(ratio * 1.001**seed)) for seed in range(3)])
    assert len(found.panels) == 9
    assert outcome(6, lsa_1layer=one, lsa_2layer_recurrent=two, lsa_5layers=elsewhere("gdpp", 2.1))[0] != said


def test_ten_layers() -> None:
    said, found = outcome(7, lsa_10layer_recurrent=layers(0.115, 0.95))
    assert said == "reproduced"
    expect(found, "ten_layers_over_gd", [0.575, 0.5755, 0.576])
    expect(found, "ten_layers_off_gdpp", [0.005, 0.0051, 0.0052])
    expect(found, "ten_layers_cosine_gdpp", [0.95, 0.949, 0.948])
    assert outcome(7, lsa_10layer_recurrent=layers(0.13))[0] == "not reproduced"
    assert outcome(7, lsa_10layer_recurrent=layers(cosine=0.7))[0] == "differs"


def test_blocks_are_judged_by_the_shared_mlp_and_both_are_shown() -> None:
    said, found = outcome(8, blocks_12_mlp=layers(0.11, 0.95), blocks_12_mlp_own=layers(0.3, 0.5))
    assert said == "reproduced"
    expect(found, "blocks_over_gd", [0.55, 0.5505, 0.551])
    expect(found, "blocks_cosine_gdpp", [0.95, 0.949, 0.948])
    expect(found, "blocks_off_gdpp", [0, 0.0001, 0.0002])
    expect(found, "own_mlps_over_gd", [1.5, 1.5005, 1.501])
    expect(found, "own_mlps_off_gdpp", [0.19, 0.1901, 0.1902])
    assert outcome(8, blocks_12_mlp=layers(0.13, 0.95), blocks_12_mlp_own=layers())[0] == "differs"
    assert outcome(8, blocks_12_mlp=layers(0.25), blocks_12_mlp_own=layers())[0] == "not reproduced"
