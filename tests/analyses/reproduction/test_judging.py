"""What a figure's numbers come to."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from mesascope.analyses.reproduction.judging import CUT_SHORT, Condition, FigureClaim, Statistic, judge
from mesascope.analyses.reproduction.von_oswald_claims import CLAIMS

CLAIM = FigureClaim(
    2,
    "One step",
    "A layer is a step.",
    (
        Condition("gap", "the gap to gradient descent", least=-0.02, most=0.02),
        Condition("cosine", "the cosine", least=0.9, detail=True),
    ),
)


def of(gap: tuple[float, float, float], cosine: tuple[float, float, float]) -> str:
    return str(judge(CLAIM, {"gap": Statistic(*gap, 5), "cosine": Statistic(*cosine, 5)}))


def test_a_figure_is_reproduced_where_whole_intervals_keep_every_bound() -> None:
    assert of((0.0, -0.02, 0.02), (0.95, 0.9, 1.0)) == "reproduced"


@pytest.mark.parametrize(
    "gap", [(-0.05, -0.08, -0.021), (0.05, 0.021, 0.08), (0.05, 0.05, 0.05), (math.nan, math.nan, math.nan)]
)
def test_it_is_not_where_a_whole_interval_is_beyond_a_bound_of_the_claim(gap: tuple[float, float, float]) -> None:
    said = of(gap, (0.5, 0.4, 0.6))
    assert said.startswith("not reproduced, because the gap to gradient descent is")
    assert "expected -0.02 to 0.02; the cosine is 0.5 [0.4, 0.6], expected at least 0.9" in said


@pytest.mark.parametrize("gap", [(0.0, -0.03, 0.02), (0.03, 0.02, 0.04), (-0.03, -0.04, -0.02)])
def test_nobody_can_tell_where_a_bound_of_the_claim_is_inside_an_interval(gap: tuple[float, float, float]) -> None:
    assert of(gap, (0.95, 0.9, 1.0)).startswith("cannot tell, because the gap to gradient descent is")
    assert of(gap, (0.5, 0.4, 0.6)).startswith("cannot tell, because")


KEPT = {"gap": Statistic(0.0, -0.01, 0.01, 5), "cosine": Statistic(0.95, 0.9, 1.0, 5)}
OFF = {"gap": Statistic.of_one(0.5), "cosine": Statistic.of_one(0.1)}


def test_trainings_that_were_cut_short_are_no_evidence_against_a_claim() -> None:
    assert judge(CLAIM, KEPT, cut_short={"short"}).outcome == "reproduced"
    for name, failing in OFF.items():
        said = judge(CLAIM, KEPT | {name: failing}, cut_short={"short"})
        assert said.outcome == "cannot tell"
        assert said.because[0].endswith(", but its training was cut short")
        fully = judge(CLAIM, KEPT | {name: failing})
        assert fully.outcome != "cannot tell"
        assert "cut short" not in str(fully)


@pytest.mark.parametrize(
    ("short", "off", "outcome", "excused"),
    [
        ("narrow", ("gap", "cosine"), "not reproduced", [False, True]),
        ("wide", ("gap", "cosine"), "cannot tell", [True, False]),
        ("narrow", ("gap",), "not reproduced", [False]),
        ("wide", ("cosine",), "differs", [False]),
        ("narrow", ("cosine",), "cannot tell", [True]),
    ],
)
def test_only_numbers_of_its_own_model_are_excused_by_a_training_that_was_cut_short(
    short: str, off: tuple[str, ...], outcome: str, excused: list[bool]
) -> None:
    gap, cosine = (replace(one, of=need) for one, need in zip(CLAIM.conditions, ("wide", "narrow"), strict=True))
    claim = replace(CLAIM, conditions=(gap, cosine))
    said = judge(claim, KEPT | {name: OFF[name] for name in off}, cut_short={short})
    assert said.outcome == outcome
    assert [one.endswith(CUT_SHORT) for one in said.because] == excused


def test_it_differs_where_details_alone_fail() -> None:
    assert of((0, 0, 0), (0.95, 0.89, 1)) == ("differs, because the cosine is 0.95 [0.89, 1], expected at least 0.9")


def test_what_was_not_measured_is_no_verdict() -> None:
    held = {"gap": Statistic.of_one(0.0)}
    assert str(judge(CLAIM, held)) == "not measured, because the cosine: was not measured"
    said = judge(CLAIM, held, {"cosine": "this model is no regression transformer"})
    assert str(said) == "not measured, because the cosine: this model is no regression transformer"


def test_one_seed_has_no_interval() -> None:
    assert str(Statistic.of_one(0.25)) == "0.25 (one seed)"
    assert str(Statistic.of_none(0.25)) == "0.25 (not trained)"
    assert str(Statistic(0.9, 0.9, 0.9, 10)) == "0.9 (10 seeds)"
    assert str(Statistic(0.9, 0.8, 1.0, 10)) == "0.9 [0.8, 1]"
    assert judge(CLAIM, {"gap": Statistic.of_one(0.01), "cosine": Statistic.of_one(1.0)}).outcome == "reproduced"


def test_a_condition_has_a_bound() -> None:
    with pytest.raises(ValueError, match="expected a bound"):
        Condition("gap", "the gap")


def test_all_sixteen_figures_are_claimed_and_no_statistic_stands_for_two() -> None:
    assert [claim.number for claim in CLAIMS] == list(range(1, 17))
    for claim in CLAIMS:
        names = [one.statistic for one in claim.conditions]
        assert len(set(names)) == len(names)
        assert any(not one.detail for one in claim.conditions)
        for one in claim.conditions:  # a verdict gives those alone that do not hold
            assert not one.said.startswith(("that ", "its ", "the same "))
