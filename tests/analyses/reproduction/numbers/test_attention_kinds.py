"""Figures 12 and 14: softmax attention and layer norm."""

from __future__ import annotations

from typing import Any

import pytest
from mesascope.analyses.reports.record import Record

from .made_up import LAST, Measured, by, expect, family, outcome


def trained(gap: float, seeds: tuple[int, ...] = (0, 1, 2), stuck: tuple[int, ...] = (), **more: Any) -> Record:
    def of(seed: int, step: int) -> Measured:
        loss = 0.2 * (1 + gap + 0.001 * seed**2) if step == LAST and seed not in stuck else 0.4
        return {"loss": by("candidate", model=loss, gd=0.2), "cosine": by("candidate", gd=0.9 + 0.01 * seed)}

    return family(of, seeds, **more)


def test_one_softmax_head_is_worse_and_two_come_close() -> None:
    said, found = outcome(12, softmax_1layer_1head=trained(0.2), softmax_1layer_2heads=trained(0.04))
    assert said == "reproduced"
    expect(found, "one_head_gap", [0.2, 0.201, 0.204])
    expect(found, "two_heads_gap", [0.04, 0.041, 0.044])
    assert found.statistics["heads_ahead"].value == pytest.approx(0.16)
    assert [panel.title for panel in found.panels][::3] == ["one head: loss", "two heads: loss"]


@pytest.mark.parametrize(("one", "two"), [(0.03, 0.04), (0.2, -0.01), (0.2, 0.15), (0.06, 0.055)])
def test_otherwise_it_is_not_reproduced(one: float, two: float) -> None:
    assert outcome(12, softmax_1layer_1head=trained(one), softmax_1layer_2heads=trained(two))[0] == "not reproduced"


@pytest.mark.parametrize(
    ("one", "two", "notes"),
    [
        ((), (), []),
        ((1,), (), ["Of 3 seeds of one head one seed has not learned: the last loss is the first"]),
        ((), (0, 2), ["Of 3 seeds of two heads 2 seeds have not learned: the last loss is the first"]),
    ],
)
def test_seeds_that_have_not_learned_are_counted(one: tuple, two: tuple, notes: list[str]) -> None:
    _, found = outcome(12, softmax_1layer_1head=trained(0.2, stuck=one), softmax_1layer_2heads=trained(0.04, stuck=two))
    assert [said.partition(", and")[0] for said in found.notes] == notes


def test_of_one_step_nobody_says_that_it_has_not_learned() -> None:
    one = trained(0.2, stuck=(0, 1, 2), steps=(LAST,))
    assert outcome(12, softmax_1layer_1head=one, softmax_1layer_2heads=one)[1].notes == ()


def test_other_seeds_of_two_heads_are_no_pairs() -> None:
    said, found = outcome(12, softmax_1layer_1head=trained(0.2), softmax_1layer_2heads=trained(0.04, (0, 1)))
    assert said == "not measured"
    assert "one head has 3 seeds and two have 2" in found.lacking["heads_ahead"]


def test_layer_norm_is_worse_in_both_depths() -> None:
    said, found = outcome(14, lsa_1layer_norm=trained(0.1), lsa_2layer_norm=trained(0.3))
    assert said == "reproduced"
    expect(found, "norm_1_gap", [0.1, 0.101, 0.104])
    expect(found, "norm_2_gap", [0.3, 0.301, 0.304])
    for one, two in ((0.0, 0.3), (0.1, 0.0)):
        assert outcome(14, lsa_1layer_norm=trained(one), lsa_2layer_norm=trained(two))[0] == "not reproduced"
