"""The card on heads: each sentence where the measures say so, and not beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from mesascope.analyses.runs.aggregation import mean_over
from mesascope.models import Source
from mesascope.probes import Claim, Measure
from mesascope.probes.attention_learning.agreement_words import beside
from mesascope.probes.attention_learning.head_claim import (
    BADGES,
    COULD_BE_CHANCE,
    FEW_DRAWS,
    FEW_SEQUENCES,
    NONE_FOLLOWS,
    head_claim,
)
from mesascope.probes.attention_learning.head_limits import (
    BY_SEED,
    DIRECT_PATH,
    NO_CAUSE,
    NO_TWIN,
    NOT_PREDICTED,
    NOT_THE_TARGET,
    SHARED,
    WRITES_NOTHING,
)
from mesascope.probes.attention_learning.heads import COLUMNS
from mesascope.probes.attention_learning.names import OTHER_TARGETS, PAIRS, SHUFFLED
from mesascope.probes.attention_learning.papers import CITATIONS
from mesascope.probes.comparing.numbers import number
from mesascope.probes.measure import along, missing

from .made_up_heads import made, over_seeds

SOURCE = Source("tiny", "in-memory", notes=("the file has no tokenizer",))
FOLLOWING = [[0.4, 0.1, 0.02], [0.1, 0.5, 0.1]]
NONE = [[0.1] * 3] * 2


def card(measures: Mapping[str, Measure]) -> Claim:
    return head_claim(measures, (SOURCE,))


# -- what was found ----------------------------------------------------------------------------------------------------


def test_the_verdict_comes_first_with_the_head_that_follows_most() -> None:
    measures = made(FOLLOWING)
    most = measures["head_agreement"].sel(pair="beta").at(layer=1, head=1)
    found = card(measures)
    assert found.found == (
        "2 of 6 heads follow beta: more often than by chance they attend most to a key that says much about the next"
        f" token. The most: L1H1, {number(most)}{beside(most)}. 1 of 6 attends most to such keys less often than by"
        " chance. By chance at most 0.29 heads would lie beyond all draws on each side, on average. The model's"
        f" next-token accuracy on these queries is {number(measures['task_accuracy'])}; chance is 0.02."
    )
    assert beside(most).startswith(" (shuffled 0.09")
    assert found.badge == "2 of 6 heads follow beta"
    assert found.evidence == "Bootstrap over 12 sequences."
    assert found.citations == CITATIONS
    assert found.limits[-1] == SOURCE.notes[0]


def test_where_no_head_follows_it_says_so() -> None:
    found = card(made(NONE))
    assert found.found.startswith(NONE_FOLLOWS)
    assert "most to such keys less often" not in found.found
    assert found.badge == "No head follows beta"
    one = card(made([[0.4, 0.1, 0.02], [0.02, 0.1, 0.1]])).found
    assert one.startswith("1 of 6 heads follows beta")
    assert "2 of 6 attend most to such keys" in one


def test_few_heads_of_many_could_be_chance() -> None:
    """One of 6 heads lies above all of 20 draws with a probability of at most 1 - (20 / 21)^6 = 0.25, two with 0.03."""
    assert COULD_BE_CHANCE in card(made([[0.4, 0.1, 0.1], [0.1] * 3])).found
    for means in (FOLLOWING, NONE):
        assert COULD_BE_CHANCE not in card(made(means)).found


def test_too_little_is_called_too_little() -> None:
    few, one, draws = card(made(FOLLOWING, n=4)), card(made(FOLLOWING, n=1)), card(made(FOLLOWING, draws=5))
    assert few.found.startswith(FEW_SEQUENCES.format("4 sequences are"))
    assert one.found.startswith(FEW_SEQUENCES.format("1 sequence is"))
    assert draws.found.startswith(FEW_DRAWS)
    for found in (few, one, draws):
        assert found.badge == BADGES["cannot tell"]
        assert "follow beta:" not in found.found
    assert one.evidence == "One sequence: no intervals."
    assert "Whether attention agrees with beta more often than chance cannot be told" in one.rival


@pytest.mark.parametrize(("mean", "badge"), [(0.4, "above"), (0.02, "below"), (0.1, "not told apart")])
def test_of_several_seeds_there_is_a_mean_over_heads(mean: float, badge: str) -> None:
    measures = over_seeds(*(made(mean, seed=seed) for seed in range(5)))
    found = card(measures)
    agreement = measures["agreement"].sel(pair="beta")
    assert found.found.startswith(
        f"Averaged over heads and 5 seeds, attention agrees with beta at {number(agreement)}."
    )
    assert found.badge == BADGES[badge]
    assert found.evidence == "t-interval over 5 seeds."
    assert "A head follows beta if" not in found.methods
    assert "t-interval over 5 seeds" in found.methods


def test_pairs_that_have_numbers_are_told_and_no_others() -> None:
    every = card(made(FOLLOWING, others=tuple(list(PAIRS)[1:]))).rival
    some = card(made(FOLLOWING)).rival
    assert every.startswith("Averaged over all heads: Attention agrees with beta more often than chance: 0.2")
    for pair in PAIRS.values():
        told = f"ow often {pair.first} agrees with {pair.second} is not" if pair.name != "beta" else "Attention agrees"
        assert told in every
        assert (told in some) == (pair.name in ("beta", "own_saliency"))
    assert "Saliency is a token's embedding times" in card(made()).methods
    assert "Saliency" not in card(made(others=())).methods


def test_without_numbers_there_is_a_reason() -> None:
    measures = made()
    nothing = along("pair", {name: missing("share", "not applicable", "the file was empty") for name in PAIRS})
    found = card({**measures, "agreement": nothing, "head_agreement": nothing})
    assert found.found == "mesascope did not compare the attention of this model's heads with beta: the file was empty."
    assert found.badge == "Heads not compared with beta"
    assert found.limits == SOURCE.notes


# -- limits ------------------------------------------------------------------------------------------------------------


def limits(measures: Mapping[str, Measure]) -> tuple[str, ...]:
    return card(measures).limits


def test_these_are_always_said() -> None:
    for measures in (made(), made(FOLLOWING), over_seeds(made(), made(seed=1))):
        assert limits(measures)[:2] == (DIRECT_PATH, NO_CAUSE)


def test_agreement_with_other_targets_is_a_limit_where_it_exceeds_shuffled_keys() -> None:
    said = NOT_THE_TARGET.partition("(")[0]
    above = limits(made(FOLLOWING, nulls={SHUFFLED: 0.1, OTHER_TARGETS: 0.2}))
    (sentence,) = (limit for limit in above if limit.startswith(said))
    assert re.search(r"\(0\.\d+ with other targets, 0\.\d+ shuffled\)\.$", sentence)
    for nulls in ({SHUFFLED: 0.1, OTHER_TARGETS: 0.1}, {SHUFFLED: 0.2, OTHER_TARGETS: 0.1}, {SHUFFLED: 0.1}):
        assert not any(limit.startswith(said) for limit in limits(made(FOLLOWING, nulls=nulls)))


def test_a_twin_is_missed_where_there_is_none() -> None:
    assert NO_TWIN in limits(made())
    assert NO_TWIN not in limits(made(others=("uniform",)))


def test_a_model_that_predicts_nothing_is_told() -> None:
    assert NOT_PREDICTED in limits(made(right=0.02))
    assert NOT_PREDICTED not in limits(made(right=0.5))
    assert NOT_PREDICTED not in limits(made(right=0.02, n=1))


def test_heads_that_write_nothing_are_told() -> None:
    assert WRITES_NOTHING in limits(made(same=((1, 0),)))
    assert WRITES_NOTHING not in limits(made())


def test_heads_share_sequences_where_some_are_called() -> None:
    assert SHARED in limits(made(FOLLOWING))
    assert SHARED in limits(made([[0.02, 0.1, 0.1], [0.1] * 3]))
    assert SHARED not in limits(made(NONE))
    assert SHARED not in limits(over_seeds(made(FOLLOWING), made(FOLLOWING, seed=1)))


def test_few_sequences_and_seeds_are_told() -> None:
    assert BY_SEED.format("seed") in limits(over_seeds(made(), made(seed=1)))
    assert BY_SEED.format("seed") not in limits(made())
    assert not any("do not correspond" in limit for limit in limits(made()))
    assert "The bootstrap resamples only 4 sequences: its intervals are too narrow." in limits(made(n=4))
    assert "One sequence has no interval." in limits(made(n=1))
    assert not any("interval" in limit for limit in limits(made()))


# -- tables ------------------------------------------------------------------------------------------------------------


def test_columns_name_measures_of_heads() -> None:
    measures = made(FOLLOWING)
    first = COLUMNS[0]
    chosen = measures[first.measure].sel(**first.labels)
    assert chosen.axes == ("layer", "head")
    assert first.null in chosen.nulls
    assert len({column.name for column in COLUMNS}) == len(COLUMNS)
    for column in COLUMNS:
        assert column.labels.get("pair", "beta") in PAIRS


def test_a_measure_without_intervals_cannot_tell() -> None:
    measures = made(FOLLOWING)
    heads = measures["head_agreement"]
    nothing = np.full(heads.values.shape, np.nan)
    found = card({**measures, "head_agreement": replace(heads, interval=(nothing, nothing))})
    assert found.found.startswith(FEW_DRAWS)


def test_models_without_seeds_are_told_as_models_and_not_as_sequences() -> None:
    """Two models that nobody numbered: the interval is that of a mean over models, and few sequences are no excuse."""
    models = made(), made(seed=1)
    mean = {name: mean_over("checkpoint", [of[name] for of in models]) for name in models[0]}
    found = card(mean)
    assert found.found.startswith("Averaged over heads and 2 checkpoints, attention agrees with beta at ")
    assert found.evidence == "t-interval over 2 checkpoints."
    assert "t-interval over 2 checkpoints" in found.methods
    assert "bootstrap" not in found.methods
    assert "sequences are too few" not in found.found
    assert BY_SEED.format("checkpoint") in found.limits
    assert not any("bootstrap" in limit for limit in found.limits)
