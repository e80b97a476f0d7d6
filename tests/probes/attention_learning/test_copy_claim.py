"""The claim card of a copy model: every sentence where it holds, and only there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mesascope.models import Source, plant_anti_attention, plant_copying
from mesascope.probes.attention_learning import copy_claim as words
from mesascope.probes.attention_learning.copy_claim import copy_claim
from mesascope.probes.attention_learning.copy_limits import NO_CAUSE, NO_TWIN, ONE_TASK, SAME_BAGS
from mesascope.probes.attention_learning.standing import standing_of
from mesascope.probes.measure import Claim, Measure, missing

from .planted_copies import agreed, measured, scalar, sourced

AGREED: dict[str, float | None] = {"beta": 0.9, "uniform": 0.8, "proxy": 0.7, "own_proxy": 0.6}
SOME = {"n_words": 60, "n_tokens": 40}
ALL = {"n_words": 40, "n_tokens": 40}


def source(
    tasks: dict[str, int] | None = SOME, *, frozen: bool = False, uniform: bool = False, **changed: Any
) -> Source:
    record = {} if tasks is None else {"recipe": {"tasks": tasks, "frozen_beta": frozen}}
    return Source("a", layout="mesascope", facts={"uniform_attention": uniform}, record=record, **changed)


def card(
    task: float = 1.0,
    attention: float = 1.0,
    ktiw: float = 1.0,
    agreements: dict[str, float | None] = AGREED,
    sources: tuple[Source, ...] = (source(),),
    learned: float = 0.95,
    width: float = 0.01,
    spread: float = 0.02,
    **changed: Any,
) -> Claim:
    accuracies = {"task": task, "attention": attention, "ktiw": ktiw}
    measures = {f"{name}_accuracy": scalar(value, width, **changed) for name, value in accuracies.items()}
    return copy_claim({**measures, "agreement": agreed(agreements, spread)}, sources, learned)


# -- the verdict -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accuracies", "outcome"),
    [
        ((1.0, 1.0, 1.0), words.BY_ATTENTION),
        ((0.95, 0.5, 0.5), words.BY_ATTENTION),
        ((1.0, 0.0, 0.0), words.ANTI_ATTENTION),
        ((1.0, 0.09, 0.09), words.ANTI_ATTENTION),
        ((1.0, 0.2, 0.0), words.OTHERWISE),
        ((1.0, 1.0, 0.4), words.OTHERWISE),
        ((0.94, 1.0, 1.0), words.NOT_LEARNED),
        ((0.0, 0.0, 0.0), words.NOT_LEARNED),
    ],
)
def test_the_outcome_heads_the_card(accuracies: tuple[float, float, float], outcome: str) -> None:
    claim = card(*accuracies)
    assert claim.badge == words.BADGES[outcome]
    assert claim.found.startswith(words.FOUND[outcome])
    assert sum(sentence in claim.found for sentence in words.FOUND.values()) == 1


def test_what_has_learned_is_a_setting() -> None:
    assert card(0.9, learned=0.9).badge == "Copies by attention"
    assert card(0.9, learned=0.91).badge == "Has not learned to copy"
    assert "has learned if at least 91 % of its words are right" in card(0.9, learned=0.91).methods


def test_accuracies_in_words() -> None:
    found = card(0.6, 0.2, 0.7).found
    assert "Right: 60 % (95 % CI 59 to 61) of the words." in found
    assert "Attending most to their own word: 20 % (95 % CI 19 to 21) of the places." in found
    assert "Known (KTIW, read out as themselves): 70 % (95 % CI 69 to 71) of the words." in found


@pytest.mark.parametrize(
    ("attention", "ktiw", "sentence"),
    [
        (0.1, 0.9, words.KNOWS_ONLY),
        (0.9, 0.1, words.ATTENDS_ONLY),
        (0.1, 0.1, words.KNOWS_NEITHER),
        (0.9, 0.9, None),
        (0.495, 0.9, None),  # the interval has one half inside
        (0.1, 0.505, None),
    ],
)
def test_what_a_model_that_has_not_learned_knows(attention: float, ktiw: float, sentence: str | None) -> None:
    every = (words.KNOWS_ONLY, words.ATTENDS_ONLY, words.KNOWS_NEITHER)
    found = card(0.3, attention, ktiw).found
    assert [each for each in every if each in found] == ([] if sentence is None else [sentence])
    assert not any(each in card(1.0, attention, ktiw).found for each in every)  # it has learned


def test_what_was_held() -> None:
    uniform, frozen = source(uniform=True), source(frozen=True)
    assert words.HELD_UNIFORM in card(sources=(uniform,)).found
    assert words.HELD_BETA in card(sources=(frozen,)).found
    for sources in ((source(),), (source(None),), (uniform, source()), (frozen, source())):
        assert words.HELD_UNIFORM not in card(sources=sources).found
        assert words.HELD_BETA not in card(sources=sources).found


# -- means over checkpoints --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("replicate", ["seed", "checkpoint"])
def test_a_mean_over_checkpoints_has_no_outcome(replicate: str) -> None:
    """Half of the seeds by attention and half by anti-attention are none that copies otherwise."""
    claim = card(1.0, 0.5, 0.5, replicate=replicate, n=4)
    assert not any(sentence in claim.found for sentence in words.FOUND.values())
    assert claim.found.startswith(f"Right: 100 % (95 % CI 99 to 100) of the words, means over 4 {replicate}s.")
    assert claim.badge == "100 % of words right on average"
    assert claim.evidence == f"t-interval over 4 {replicate}s."
    assert claim.methods.endswith(f"95 % confidence intervals: t-interval over 4 {replicate}s.")
    assert words.KNOWS_NEITHER not in card(0.3, 0.1, 0.1, replicate=replicate, n=4).found


def test_the_evidence_of_one_checkpoint() -> None:
    claim = card()
    assert "means over" not in claim.found
    assert claim.evidence == "Bootstrap over 64 sequences."
    assert claim.methods.endswith("95 % confidence intervals: bootstrap over 64 sequences.")
    alone = card(n=1)
    assert alone.evidence == "One sequence: no intervals."
    assert "confidence intervals" not in alone.methods
    assert "One sequence has no interval." in alone.limits
    assert not any("has no interval" in limit for limit in claim.limits)


# -- agreements --------------------------------------------------------------------------------------------------------


def test_agreements_in_words() -> None:
    rival = card(agreements=AGREED | {"uniform": 0.05, "proxy": 0.01, "own_proxy": None}).rival
    assert rival == (
        "Attention agrees with beta more often than chance: 0.900 (95 % CI 0.880 to 0.920) (shuffled 0.0400 to 0.0600)."
        " How often attention agrees with the twin's beta is not distinguishable from chance: 0.0500 (95 % CI 0.0300 to"
        " 0.0700) (shuffled 0.0400 to 0.0600). The twin's beta agrees with co-occurrence less often than chance: 0.0100"
        " (95 % CI 0.0000 to 0.0300) (shuffled 0.0400 to 0.0600)."
    )


def test_agreements_that_cannot_be_told() -> None:
    rival = card(agreements={"beta": 0.9, "uniform": None, "proxy": None, "own_proxy": None}, spread=np.nan).rival
    assert rival == (
        "Whether attention agrees with beta more often than chance cannot be told: 0.900 (shuffled 0.0400 to 0.0600)."
    )


def standing(value: float, width: float, null: list[float]) -> str | None:
    nulls = {"shuffled": np.array(null[:1]), "other targets": np.array(null[1:])}
    return standing_of(scalar(value, width, nulls=nulls, no_nulls=""))


def test_standing_asks_for_the_whole_interval_and_every_draw() -> None:
    assert standing(0.2, 0.05, [0.05, 0.1]) == "above"
    assert standing(0.2, 0.11, [0.05, 0.1]) == "not told apart"
    assert standing(0.2, 0.05, [0.05, 0.16]) == "not told apart"
    assert standing(0.2, 0.05, [0.16, 0.05]) == "not told apart"
    assert standing(0.02, 0.01, [0.05, 0.1]) == "below"
    assert standing(0.02, 0.04, [0.05, 0.1]) == "not told apart"
    assert standing(0.2, np.nan, [0.05, 0.1]) == "cannot tell"
    assert standing(0.2, 0.05, [np.nan, 0.1]) == "above"
    assert standing(0.2, 0.05, [np.nan, np.nan]) == "cannot tell"
    assert standing_of(scalar(0.2)) == "cannot tell"
    assert standing_of(missing("share", "not applicable", "none")) is None


def test_rounding_puts_nothing_above_chance() -> None:
    """The same mean, summed in another order."""
    assert standing(0.2, 0.0, [0.2 - 1e-16, 0.2 - 3e-16]) == "not told apart"
    assert standing(0.2, 0.0, [0.2 + 1e-16, 0.2 + 3e-16]) == "not told apart"


# -- limits ------------------------------------------------------------------------------------------------------------


def test_limits_that_always_hold() -> None:
    assert {NO_CAUSE, ONE_TASK} <= set(card().limits)


def test_same_bags() -> None:
    assert SAME_BAGS in card(sources=(source(ALL),)).limits
    for tasks in (SOME, None, {"n_words": 40}):
        assert SAME_BAGS not in card(sources=(source(tasks),)).limits
    assert SAME_BAGS not in card(sources=(source(ALL), source(SOME))).limits


def test_no_twin() -> None:
    without = AGREED | {"uniform": None, "proxy": None}
    assert NO_TWIN in card(agreements=without).limits
    assert NO_TWIN not in card().limits
    assert NO_TWIN not in card(agreements=without, sources=(source(uniform=True),)).limits


def test_notes_of_the_sources_are_limits_once() -> None:
    limits = card(sources=(source(notes=("a note",)), source(notes=("a note", "another")))).limits
    assert limits[-2:] == ("a note", "another")


# -- planted models, from weights to words -----------------------------------------------------------------------------


def claimed(module: Any, twin: Any = "none") -> tuple[Claim, dict[str, Measure]]:
    subject = sourced(module, {"n_words": 12, "n_tokens": 12})
    measures = dict(measured(subject, twin).measures)
    return copy_claim(measures, (subject.source,), 0.95), measures


def test_attention_to_known_words() -> None:
    claim, _ = claimed(plant_copying())
    assert claim.badge == "Copies by attention"
    assert "Attention agrees with beta more often than chance: 1.00" in claim.rival


def test_words_known_without_attention() -> None:
    claim, _ = claimed(plant_copying(attention="uniform"))
    assert claim.badge == "Has not learned to copy"
    assert words.KNOWS_ONLY in claim.found
    assert words.HELD_UNIFORM not in claim.found  # its queries are 0, but could have learned
    assert "How often attention agrees with beta is not distinguishable from chance" in claim.rival


def test_attention_without_known_words() -> None:
    claim, _ = claimed(plant_copying(knows_words=False))
    assert words.ATTENDS_ONLY in claim.found
    assert "How often attention agrees with beta is not distinguishable from chance" in claim.rival


def test_neither() -> None:
    assert words.KNOWS_NEITHER in claimed(plant_copying(knows_words=False, attention="uniform"))[0].found


def test_anti_attention() -> None:
    claim, _ = claimed(plant_anti_attention())
    assert claim.badge == "Copies by anti-attention"
    assert words.FOUND[words.ANTI_ATTENTION] in claim.found
