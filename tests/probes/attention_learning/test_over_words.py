"""What is said of several checkpoints: every sentence where it holds, and only there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pytest
from mesascope.probes.attention_learning.over_words import (
    ATTENTION_COMES_FIRST,
    CANNOT_TELL,
    KTIW_COMES_FIRST,
    NO_DRIVER,
    RATES,
    badge_of,
    limits_of,
    sentences_of,
)
from mesascope.probes.attention_learning.run_measures import crossing_measures, outcome_measures
from mesascope.probes.attention_learning.training_runs import runs_of
from mesascope.probes.measure import Measure, along, missing
from mesascope.probes.probe import Checkpoint

from .planted_copies import made_up, scalar

STEPS = (0, 20, 40, 60)
NO_PUSH = {"agreement_push": missing("share", "not applicable", "none")}
VERDICTS = (KTIW_COMES_FIRST, ATTENTION_COMES_FIRST, CANNOT_TELL)
EVERY, SOME = {"n_words": 40, "n_tokens": 40}, {"n_words": 60, "n_tokens": 40}


def run(
    seed: int, ktiw: int | None, attention: int | None, steps: Sequence[int] = STEPS, **of: Any
) -> list[Checkpoint]:
    """A seed whose accuracies jump from 0 to 1 at these steps; its task follows attention."""

    def at(step: int, crossed: int | None) -> float:
        return float(crossed is not None and step >= crossed)

    return [made_up(seed, step, at(step, ktiw), at(step, attention), at(step, attention), **of) for step in steps]


def said(runs: Sequence[list[Checkpoint]], measures: Mapping[str, Measure] | None = None) -> tuple[str, str, str]:
    """Sentence, badge and limits, with the measures that such checkpoints have, and others."""
    found = runs_of(list(chain(*runs)))
    of = {**NO_PUSH}
    if any(len(one.steps) > 1 for one in found):
        of |= crossing_measures(found)
    if len(found) > 1:
        of |= outcome_measures(found, 0.95)
    of |= measures or {}
    return " ".join(sentences_of(found, of)), badge_of(found, of), " ".join(limits_of(found, of))


def seeds(n: int, ktiw: int | None, attention: int | None, **of: Any) -> list[list[Checkpoint]]:
    return [run(seed, ktiw, attention, **of) for seed in range(n)]


# -- which learn -------------------------------------------------------------------------------------------------------


def test_how_many_learn() -> None:
    sentence, badge, limits = said([*seeds(2, 20, 40), run(7, None, None)])
    assert sentence.startswith("2 of 3 seeds learn to copy by step 60 (95 % CI 9 to 99 %). KTIW passes")
    assert badge == "2 of 3 seeds learn to copy"
    assert RATES in limits
    assert said([*seeds(1, 20, 40), run(7, None, None)])[0].startswith("1 of 2 seeds learns to copy by")


def test_one_training_has_no_share() -> None:
    sentence, badge, limits = said(seeds(1, 20, 40))
    assert "learn" not in sentence
    assert badge == ""
    assert RATES not in limits


def test_a_step_that_nobody_recorded() -> None:
    made = [[made_up(seed, None, 1.0, 1.0, 1.0)] for seed in range(3)]
    assert said(made)[0] == "3 of 3 seeds learn to copy (95 % CI 29 to 100 %)."


def test_seeds_that_lack_the_last_step_are_not_counted_as_if_they_had_it() -> None:
    sentence, badge, _ = said([*seeds(2, 20, 40), run(7, 20, 40, (0, 20))])
    assert sentence.startswith("2 of 2 seeds learn to copy by step 60")
    assert badge == "2 of 2 seeds learn to copy"


@pytest.mark.parametrize(
    ("ktiw", "attention", "words"),
    [(0.0, 0.0, "by anti-attention"), (1.0, 0.2, "not by attention to known words"), (1.0, 1.0, None)],
)
def test_how_they_copy(ktiw: float, attention: float, words: str | None) -> None:
    one = [made_up(0, 60, ktiw, attention, 1.0)]
    more = [[made_up(seed, 60, 1.0, 1.0, 1.0)] for seed in (1, 2)]
    assert ("Of these, 1 does so" in said([one, *more])[0]) == (words is not None)
    if words is not None:
        assert f"Of these, 1 does so {words}." in said([one, *more])[0]
        two = [made_up(5, 60, ktiw, attention, 1.0)]
        assert f"Of these, 2 do so {words}." in said([one, two, *more])[0]


# -- which comes first -------------------------------------------------------------------------------------------------


def verdicts(runs: Sequence[list[Checkpoint]]) -> list[str]:
    sentence = said(runs)[0]
    return [verdict for verdict in VERDICTS if verdict in sentence]


def test_ktiw_comes_first_where_enough_seeds_say_so() -> None:
    sentence, _, limits = said(seeds(8, 20, 40))
    assert "KTIW passes one half before attention in 8 of 8 seeds, and after it in 0. KTIW comes first." in sentence
    assert sentence.endswith("Attention follows KTIW after a median of 20.0 (95 % CI 20.0 to 20.0) steps.")
    assert NO_DRIVER in limits


@pytest.mark.parametrize(
    ("runs", "verdict"),
    [
        (seeds(8, 20, 40), KTIW_COMES_FIRST),
        (seeds(8, 20, None), KTIW_COMES_FIRST),
        (seeds(6, 20, 40), KTIW_COMES_FIRST),
        (seeds(5, 20, 40), CANNOT_TELL),
        (seeds(3, 20, 40), CANNOT_TELL),
        (seeds(8, 40, 20), ATTENTION_COMES_FIRST),
        (seeds(8, None, 0), ATTENTION_COMES_FIRST),
        (seeds(3, 40, 20), CANNOT_TELL),
        ([*seeds(8, 20, 40), *(run(seed, 40, 20) for seed in range(8, 16))], CANNOT_TELL),
        (seeds(8, 20, 20), None),
        (seeds(8, None, None), None),
        ([*seeds(3, 20, 40), *(run(seed, 20, 20) for seed in range(3, 9))], CANNOT_TELL),
    ],
)
def test_the_order_and_what_may_be_said_of_it(runs: list[list[Checkpoint]], verdict: str | None) -> None:
    assert verdicts(runs) == ([] if verdict is None else [verdict])


def test_the_order_in_counts() -> None:
    runs = [*seeds(2, 20, 40), run(2, 40, 20), run(3, 20, 20), run(4, None, None)]
    found = (
        "KTIW passes one half before attention in 2 of 5 seeds, and after it in 1; at the same checkpoint in 1; neither"
        " does in 1."
    )
    assert found in said(runs)[0]
    assert "at the same checkpoint" not in said(seeds(3, 20, 40))[0]
    assert "neither" not in said(seeds(3, 20, 40))[0]


def test_attention_follows_only_where_it_does() -> None:
    assert "Attention follows KTIW after a median of 20.0 steps." in said(seeds(3, 20, 40))[0]
    for runs in (seeds(3, 40, 20), seeds(3, 20, 20), seeds(3, 20, None)):
        assert "Attention follows" not in said(runs)[0]
    mostly_together = [*seeds(1, 20, 40), *(run(seed, 20, 20) for seed in (1, 2))]
    assert "Attention follows" not in said(mostly_together)[0]


def test_ktiw_that_no_seed_shows_first_needs_no_warning() -> None:
    assert NO_DRIVER not in said(seeds(3, 40, 20))[2]
    assert NO_DRIVER in said([*seeds(3, 40, 20), run(7, 20, 40)])[2]


@pytest.mark.parametrize(
    ("ktiw", "attention", "sentence"),
    [
        (20, 40, "Passing one half: KTIW at step 20, attention accuracy at step 40."),
        (40, None, "Passing one half: KTIW at step 40, attention accuracy does not (the last step is 60)."),
        (None, None, "Passing one half: KTIW does not, attention accuracy does not (the last step is 60)."),
    ],
)
def test_one_training_in_words(ktiw: int | None, attention: int | None, sentence: str) -> None:
    assert said(seeds(1, ktiw, attention))[0] == sentence


def test_the_distance_between_checkpoints_is_a_limit() -> None:
    assert "true to the distance between checkpoints, here up to 20 steps." in said(seeds(3, 20, 40))[2]
    uneven = [run(0, 20, 40, (0, 20, 1500)), run(1, 20, 40)]
    assert "here up to 1,480 steps." in said(uneven)[2]
    single = [[made_up(seed, 60, 1.0, 1.0, 1.0)] for seed in range(3)]
    assert "distance between checkpoints" not in said(single)[2]


# -- what was held -----------------------------------------------------------------------------------------------------


def uniform(n: int, ktiw: int | None, tasks: dict[str, int] = SOME) -> list[list[Checkpoint]]:
    return seeds(n, ktiw, None, facts={"uniform_attention": True}, record={"recipe": {"tasks": tasks}})


def frozen(n: int, attention: int | None) -> list[list[Checkpoint]]:
    return seeds(n, None, attention, record={"recipe": {"tasks": SOME, "frozen_beta": True}})


def test_knowledge_without_attention() -> None:
    sentence, badge, _ = said(uniform(4, 20))
    words = "With attention held uniform, more than half of the words are known in 4 of 4 seeds by step 60:"
    assert f"{words} KTIW needs no attention." in sentence
    assert badge == "KTIW without attention"
    alone, badge, _ = said(uniform(1, 20))
    assert "known in 1 of 1 seed by step 60: KTIW needs no attention." in alone
    assert badge == "KTIW without attention"


def test_no_knowledge_without_attention() -> None:
    """With the reason where sources hold all words."""
    sentence, badge, _ = said(uniform(4, None))
    assert sentence.endswith("more than half of the words are known in 0 of 4 seeds by step 60.")
    assert badge == "No KTIW without attention"
    because = "known in 0 of 4 seeds by step 60: every source holds all words, and co-occurrence says nothing."
    assert because in said(uniform(4, None, EVERY))[0]
    assert "co-occurrence" not in said(uniform(4, 20, EVERY))[0]


def test_attention_with_frozen_beta() -> None:
    sentence, badge, _ = said(frozen(4, None))
    words = (
        "With beta held at its initial values, more than half of the places come to attend most to their own word in"
    )
    assert f"{words} 0 of 4 seeds by step 60: attention does not form without KTIW." in sentence
    assert badge == "No attention without KTIW"
    sentence, badge, _ = said(frozen(4, 20))
    assert f"{words} 4 of 4 seeds by step 60: attention does not wait for KTIW." in sentence
    assert badge == "Attention without KTIW"
    some, badge, _ = said([*frozen(3, None), *[[replace_seed(one, 9) for one in walked] for walked in frozen(1, 20)]])
    assert f"{words} 1 of 4 seeds by step 60: there attention does not wait for KTIW." in some
    assert badge == "Attention without KTIW"


def replace_seed(checkpoint: Checkpoint, seed: int) -> Checkpoint:
    return replace(checkpoint, source=replace(checkpoint.source, seed=seed))


def test_where_attention_cannot_go_nothing_is_said_of_where_it_goes() -> None:
    assert "pushes attention" not in said(uniform(2, 20))[0]


def test_what_counts_is_the_last_step() -> None:
    losing = [made_up(0, step, ktiw, facts={"uniform_attention": True}) for step, ktiw in ((0, 1.0), (20, 0.0))]
    assert "known in 0 of 1 seed by step 20." in said([losing])[0]


def test_an_order_is_no_finding_where_something_was_held() -> None:
    for runs in (uniform(8, 20), frozen(8, 20)):
        sentence, _, limits = said(runs)
        assert not any(verdict in sentence for verdict in VERDICTS)
        assert "passes one half" not in sentence
        assert NO_DRIVER not in limits
        assert "distance between checkpoints" not in limits


def test_nothing_is_held_unless_it_is_in_all() -> None:
    for held in (uniform(1, 20), frozen(1, 20)):
        sentence, badge, _ = said([*held, run(7, 20, 40)])
        assert "held" not in sentence
        assert badge.endswith("seeds learn to copy")
    assert "held" not in said(seeds(2, 20, 40))[0]


# -- where attention goes ----------------------------------------------------------------------------------------------


def pushed(values: Sequence[float], width: float = 0.01) -> dict[str, Measure]:
    ends = np.array(values) - width, np.array(values) + width
    null = np.repeat([[0.04], [0.06]], len(values), axis=1)
    steps = {"step": tuple(range(len(values)))}
    push = Measure(
        np.array(values), "share", ends, "seed", 3, ("step",), steps, {"shuffled": null}, message="NaN: none"
    )
    return {"agreement_push": push}


def test_attention_that_goes_where_it_is_pushed() -> None:
    words = "Where beta pushes attention most, it rises most until the next checkpoint more often than chance at"
    three = said(seeds(3, 20, 40), pushed([0.055, 0.4, 0.9]))[0]
    assert three.endswith(f"{words} 2 of 3 steps (agreement between 0.0550 and 0.900).")
    assert f"{words} 1 of 1 step (agreement 0.400)." in said(seeds(3, 20, 40), pushed([0.4]))[0]
    assert f"{words} 0 of 2 steps (agreement 0.0500)." in said(seeds(3, 20, 40), pushed([0.05, 0.05]))[0]
    assert f"{words} 0 of 1 step" in said(seeds(3, 20, 40), pushed([0.4], width=0.5))[0]


def test_steps_without_a_push_do_not_count() -> None:
    assert "at 1 of 2 steps (agreement between 0.0500 and" in said(seeds(3, 20, 40), pushed([0.05, np.nan, 0.4]))[0]
    assert "pushes" not in said(seeds(3, 20, 40), pushed([np.nan, np.nan]))[0]
    assert "pushes" not in said(seeds(3, 20, 40))[0]


def test_how_early_beta_says_where_attention_goes() -> None:
    both = along("pair", {"uniform": scalar(0.34), "beta": scalar(0.6)})
    words = (
        "Another seed's attention agrees as much with a finished one as the twin's beta does once its task accuracy is"
        " 34 % (best of a seed: 99 %)."
    )
    assert said(seeds(3, 20, 40), {"xi": both, "xi_star": scalar(0.99)})[0].endswith(words)
    some = scalar(0.34, points=np.array([0.34, np.nan, 0.34]), n=3, replicate="seed")
    found = said(seeds(3, 20, 40), {"xi": along("pair", {"uniform": some}), "xi_star": scalar(0.99)})[0]
    assert found.endswith("34 % (best of a seed: 99 %; known of 2 of 3 seeds).")
    none = along("pair", {"uniform": missing("share", "undefined", "none"), "beta": scalar(0.6)})
    absent = missing("share", "not applicable", "none")
    for xi, best in ((none, scalar(0.99)), (absent, scalar(0.99)), (both, absent)):
        assert "Another seed's" not in said(seeds(3, 20, 40), {"xi": xi, "xi_star": best})[0]
    assert "Another seed's" not in said(seeds(3, 20, 40), {"xi": absent})[0]
