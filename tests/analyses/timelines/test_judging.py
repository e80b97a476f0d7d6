"""What curves show together: onsets, their order by seed, changes of course; and the sentences that say it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from mesascope.analyses.timelines.judging import Timeline, onset, timeline
from mesascope.analyses.timelines.sentences import change_sentences, onset_sentence, order_sentence, sentences, where
from mesascope.analyses.timelines.series import Series
from mesascope.probes.followed import Course, Followed
from mesascope.probes.statistics.medians import Ends

from .made_up import STEPS, rising

NAN = math.nan


def course(values: list[float], *, steps: tuple[int, ...] = STEPS, null: float = 0.3, place: str = "") -> Course:
    """NaN has failed."""
    estimate = np.array(values, dtype=np.float64)
    gone = np.isnan(estimate)
    why = tuple("killed" if lost else "" for lost in gone)
    nulls, no = np.full(len(steps), null), np.zeros(len(steps), bool)
    return Course(steps, estimate, estimate - 0.1, estimate + 0.1, nulls, why, no, gone, "nat", place)


def series(*begins: int | None, words: str = "the score", probe: str = "alpha", place: str = "") -> Series:
    """A curve a seed, which begins at that step; None: it does not."""
    values = [rising(10**9 if at is None else at) for at in begins]
    courses = {f"seed {seed}": course(of, place=place) for seed, of in enumerate(values)}
    return Series(probe, Followed("score", words), courses)


def found(*many: Series, noun: str = "seed") -> Timeline:
    return timeline("toy", noun, many)


def said(one: Series, noun: str = "seed") -> str:
    (judged,) = found(one).judged
    return onset_sentence(judged, noun)


# -- onsets ------------------------------------------------------------------------------------------------------------


def test_one_training_has_a_bracket_and_no_interval() -> None:
    assert said(series(50)) == "alpha: the score begins between steps 20 and 50; one seed: no interval."
    assert said(series(50), "training").endswith("; one training: no interval.")
    assert said(series(0)).startswith("alpha: the score has begun at step 0, the first that was measured;")
    assert said(series(None)).startswith("alpha: the score has not begun by step 2000;")
    assert "seen at the last step only" in said(series(2000))
    assert "(head L1H0, largest at the last step) begins" in said(series(50, place="head L1H0"))


def test_few_seeds_have_their_range_only() -> None:
    two = said(series(50, 200))
    assert two == "alpha: the score begins between steps 20 and 200 (2 seeds: their range only)."
    three = said(series(50, 100, 500))
    assert "between steps 50 and 100 at the median of 3 seeds (their range only: between steps 20 and 500)" in three
    assert said(series(50, 50, place="head L1H0")).endswith("at the place where it is largest at the last step.")


def test_six_seeds_have_an_interval() -> None:
    six = said(series(10, 20, 50, 100, 200, 500))
    assert "at the median of 6 seeds (95 % interval: between steps 0 and 500)" in six
    assert "range" not in six


def test_seeds_that_do_not_begin_or_have_begun_are_counted() -> None:
    assert said(series(None, None)) == "alpha: the score has not begun by the last step in any of 2 seeds."
    all_begun = "alpha: the score has begun at the first step that was measured in all 2 seeds."
    assert said(series(0, 0)) == all_begun
    mixed = said(series(0, 50, 100, None))
    assert "; in 1 it has begun at the first step that was measured; in 1 it has not begun by the last step" in mixed
    some = said(series(50, 50, 100))
    assert "has begun" not in some
    assert "not begun" not in some


def test_seeds_without_a_number_are_named() -> None:
    one = series(50, 100)
    one = Series(one.probe, one.followed, {**one.courses, "seed 2": course([NAN] * len(STEPS))})
    assert said(one).endswith("(2 seeds: their range only). Without a number: seed 2.")
    none = Series("alpha", Followed("score", "the score"), {"seed 0": course([NAN] * len(STEPS))})
    assert said(none) == "alpha: the score: no step has an interval and a null to compare it with."


def test_missing_steps_widen_the_bracket_and_copies_are_missing() -> None:
    values = rising(50)
    values[2] = values[3] = NAN  # steps 20 and 50
    assert "between steps 10 and 100" in said(
        Series("alpha", Followed("score", "the score"), {"seed 0": course(values)})
    )
    whole = course(rising(50))
    copied = Course(**{**vars(whole), "copied": np.array([step in (20, 50) for step in STEPS])})
    one = onset(copied, above=True)
    assert one is not None
    assert (one.after, one.by) == (10, 100)


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ((1300, 1600), "between steps 1300 and 1600"),
        ((-math.inf, 1_000_000), "by step 1000000"),
        ((143_000, math.inf), "after step 143000"),
        ((-math.inf, math.inf), "at an unknown step"),
    ],
)
def test_where(ends: tuple[float, float], words: str) -> None:
    assert where(Ends(*ends)) == words


# -- order -------------------------------------------------------------------------------------------------------------


def order(first: Series, second: Series, noun: str = "seed") -> str:
    (pair,) = found(first, second).pairs
    return order_sentence(pair, noun)


LATER = {"words": "the loss", "probe": "beta"}


def test_which_begins_first_seed_by_seed() -> None:
    said = order(series(*[20] * 6), series(*[100] * 6, **LATER))
    expected = "alpha: the score begins before beta: the loss in 6 of 6 seeds (p = 0.031, exact sign test over seeds)."
    assert said == expected
    assert order(series(*[100] * 6), series(*[20] * 6, **LATER)) == expected.replace(
        "alpha: the score begins before beta: the loss", "beta: the loss begins before alpha: the score"
    )
    (pair,) = found(series(*[100] * 6), series(*[20] * 6, **LATER)).pairs
    assert pair.in_order == (pair.second, pair.first, Ends(30, 90))  # from 10 to 20, and from 50 to 100
    same_probe = order(series(20), series(100, words="attention"))
    assert same_probe == "alpha: the score begins before attention (one seed: no test)."


def test_few_seeds_say_what_they_can_show() -> None:
    said = order(series(*[20] * 5), series(*[100] * 5, **LATER))
    assert said.endswith("in 5 of 5 seeds (p = 0.062, exact sign test over seeds; 5 can give no less than 0.062).")


def test_what_cannot_be_told() -> None:
    assert order(series(20, 20), series(20, 20, **LATER)).endswith("the measured steps cannot tell which begins first.")
    mixed = order(series(20, 20, 20, 200), series(100, 100, 20, 100, **LATER))
    assert "in 2 of 4 seeds, and after it in 1; in 1 the measured steps cannot tell (p = 1," in mixed
    assert found(series(None), series(None, **LATER)).pairs == ()


def test_seeds_with_one_of_the_two_are_left_out_and_named() -> None:
    said = order(series(20, 20, 20), series(100, 100, **LATER))
    assert "in 2 of 2 seeds" in said
    assert said.endswith(" Left out, with one of the two only: seed 2.")


def test_p_is_adjusted_over_all_pairs() -> None:
    late = {"first": series(*[10] * 6), "second": series(*[50] * 6, words="b"), "third": series(*[200] * 6, words="c")}
    pairs = found(*late.values()).pairs
    assert [pair.order.p for pair in pairs] == [pytest.approx(2 / 64)] * 3
    assert [pair.p_adjusted for pair in pairs] == [pytest.approx(2 / 64)] * 3
    with_a_weak_one = found(*late.values(), series(*[500] * 5, 100, words="d")).pairs
    weakest = max(with_a_weak_one, key=lambda pair: pair.order.p)
    assert weakest.p_adjusted > 2 / 64
    assert math.isnan(found(series(20), series(50, words="b")).pairs[0].p_adjusted)


# -- changes of course -------------------------------------------------------------------------------------------------


def test_changes_are_said_with_their_steps() -> None:
    (judged,) = found(series(50, 200)).judged
    one, other = change_sentences(judged)
    assert one.startswith("seed 0: jumps up between steps 20 and 50 (p = 0.001")
    assert other.startswith("seed 1: jumps up between steps 100 and 200")
    down = Series("beta", Followed("loss", "the loss"), {"seed 0": course([1 - value for value in rising(50)])})
    assert change_sentences(found(down).judged[0])[0].startswith("seed 0: jumps down between steps 20 and 50")


def test_no_change_and_too_few_steps_are_said() -> None:
    few = Series("alpha", Followed("score", "the score"), {"seed 0": course([0.0, 0.1, 1.0], steps=(0, 10, 20))})
    assert change_sentences(found(few).judged[0]) == ["seed 0: cannot tell: 3 steps, and 8 are needed."]
    (flat,) = found(series(None)).judged
    assert change_sentences(flat) == ["seed 0: no change of course beyond that of a curve that wanders."]


def test_all_sentences() -> None:
    every = sentences(found(series(20, 20), series(100, 100, **LATER), series(20, 20, words="attention")))
    assert len(every["onsets"]) == 3
    assert len(every["order"]) == 2  # of the third pair nothing is known
