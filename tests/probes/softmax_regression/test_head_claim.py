"""The card on heads: each sentence where the measures say so, and not beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.runs.aggregation import mean_over
from mesascope.models import Source
from mesascope.probes import Claim, Measure
from mesascope.probes.comparing.heads_beside_nulls import ENOUGH, FEWEST
from mesascope.probes.comparing.numbers import number, rounded
from mesascope.probes.measure import missing
from mesascope.probes.softmax_regression.definitions import DEFINITIONS
from mesascope.probes.softmax_regression.head_claim import BADGES, NO_SHIFT, head_claim
from mesascope.probes.softmax_regression.head_closeness import Closeness, beyond_random, closeness_called
from mesascope.probes.softmax_regression.head_definitions import HEAD_DEFINITIONS
from mesascope.probes.softmax_regression.head_limits import (
    BY_SCALE,
    BY_SEED,
    NO_GRADIENT,
    NO_UNTRAINED,
    SHARED,
    THEOREMS,
)
from mesascope.probes.softmax_regression.head_measures import DRAWS, ReadShifts, shift_measures
from mesascope.probes.softmax_regression.head_names import ALL, KEYS, RANDOM, UNITS, UNTRAINED, WORDS
from mesascope.probes.softmax_regression.heads import COLUMNS
from mesascope.probes.statistics.null_p import smallest_p

LAYERS, HEADS = 2, 3
SOURCE = Source("tiny", "in-memory", notes=("the file has no tokenizer",))


def made(
    n: int = 12,
    untrained: int = 2,
    draws: int = DRAWS,
    seed: int = 0,
    later: Mapping[str, float] | None = None,
    **means: Any,
) -> dict[str, Measure]:
    """Measures around these means [layer, head], 0.1 where none is given, of random cosines around 0.

    later:  other means of the shifts without position 0
    """  # fmt: skip
    rng = np.random.default_rng(seed)
    means = {"shift_cosine_unscaled": means.get("shift_cosine", 0.1)} | means
    mean = {name: np.broadcast_to(means.get(name, 0.1), (LAYERS, HEADS)) for name in WORDS}
    noise = lambda *shape: 1 + 0.01 * rng.normal(size=(n, LAYERS, HEADS, *shape))  # noqa: E731
    scale = {ALL: {}, "later": later or {}}
    own = {(name, keys): mean[name] * scale[keys].get(name, 1) * noise() for name in WORDS for keys in KEYS}
    random = {at: noise(draws) * (rng.uniform(-0.05, 0.05, draws) if "cosine" in at[0] else 0.3) for at in own}
    fresh = [{at: 0.01 * (2 + model) * noise() for at in own} for model in range(untrained)]
    return shift_measures(ReadShifts(own, random), fresh, seed)[0]


def card(measures: Mapping[str, Measure]) -> Claim:
    return head_claim(measures, (SOURCE,))


def over_seeds(*seeds: Mapping[str, Measure]) -> dict[str, Measure]:
    return {name: mean_over("seed", [measures[name] for measures in seeds]) for name in seeds[0]}


# -- what was found ----------------------------------------------------------------------------------------------------


def test_the_first_sentences_are_the_shifts_beside_their_nulls() -> None:
    measures = made(shift_A=[[0.1] * 3, [0.4] * 3], shift_x=0.2, share_of_bound_A=[[0.02, 0.01, 0.05], [0.01] * 3])
    shift, layers, by_query, shares = (
        measures[name].sel(keys=ALL) for name in ("mean_shift_A", "layer_shift_A", "mean_shift_x", "share_of_bound_A")
    )
    ends = {name: [rounded(end(samples)) for end in (np.min, np.max)] for name, samples in shift.nulls.items()}
    fresh = [rounded(100 * end(shares.nulls[UNTRAINED].max(axis=(1, 2)))) for end in (np.min, np.max)]
    assert card(measures).found == (
        f"With the keys after a layer's own attention write, its heads' attention shifts by {number(shift)}, most in"
        f" layer 1: {number(layers.at(layer=1))}. With the query after it: {number(by_query)}. For comparison, the"
        f" shift by new keys: untrained models {' to '.join(ends[UNTRAINED])}, keys moved as far in random directions"
        f" {' to '.join(ends[RANDOM])}. Per length of its move, no head shifts by more than"
        f" {rounded(100 * shares.values.max())} % of the tight bound on average (untrained models {' to '.join(fresh)}"
        " %)."
    )
    assert shift.estimate == pytest.approx(0.25, abs=0.01)
    assert shares.values.max() == pytest.approx(0.05, abs=0.001)


def test_a_single_untrained_model_is_called_one() -> None:
    for n, words in {1: "an untrained model 0.0", 2: "untrained models 0.0"}.items():
        found = card(made(untrained=n))
        assert words in found.found
        assert words in found.rival


def test_without_nulls_the_shift_is_compared_with_nothing() -> None:
    found = card({name: replace(m, nulls={}, no_nulls="none was read") for name, m in made().items()})
    assert "For comparison" not in found.found
    assert "untrained" not in found.found + found.methods
    assert NO_UNTRAINED in found.limits
    assert NO_UNTRAINED not in card(made()).limits
    assert "Nulls" not in found.methods
    assert "cannot be told: 0 random directions are too few." in found.rival


def test_a_model_of_one_layer_has_no_largest_layer() -> None:
    measures = made()
    one = replace(
        measures["layer_shift_A"].at(layer=0), values=np.full((2, 1), 0.3), interval=(np.zeros((2, 1)),) * 2,
        axes=("keys", "layer"), nulls={}, no_nulls="none",
    )  # fmt: skip
    assert "most in layer" not in card(measures | {"layer_shift_A": one}).found
    assert "most in layer" in card(measures).found


def test_layers_that_write_nothing_are_said_to_shift_nothing() -> None:
    none: dict[str, Any] = dict.fromkeys(("shift_A", "shift_x"), 0.0)
    found = card(made(**none, shift_cosine=np.nan, share_of_bound_A=np.nan))
    assert found.found == NO_SHIFT
    assert (found.rival, found.badge) == ("No head has two shifts to compare.", "No head shifts")
    assert card(made()).found != NO_SHIFT


@pytest.mark.parametrize("reason", ["this model soft-caps its scores at 5", "this model has learned attention sinks"])
def test_a_model_without_such_shifts_says_why(reason: str) -> None:
    found = card({name: missing(unit, "not applicable", reason) for name, unit in UNITS.items()})
    assert found.found == f"mesascope did not measure the shifts of this model's heads: {reason}."
    assert found.limits == SOURCE.notes
    assert (found.badge, found.evidence) == ("Shifts of heads not measured", "None.")
    assert "Nulls" not in found.methods


# -- how close both shifts are -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cosine", "called", "words"),
    [
        (0.6, "closer", "The two shifts are closer to each other than in random directions."),
        (-0.6, "farther", "The two shifts are farther apart than in random directions."),
        (0.01, "not told apart", "How close the two shifts are is not distinguishable from random directions."),
    ],
)
def test_the_cosine_is_called_by_random_directions(cosine: float, called: Any, words: str) -> None:
    found = card(made(shift_cosine=cosine))
    assert found.rival.startswith(words)
    assert found.badge == BADGES[called]
    assert "Their cosine, mean over heads: " in found.rival
    assert "random directions -0.0" in found.rival
    assert "(minimum to maximum of 20)" in found.rival


@pytest.mark.parametrize(
    ("whole", "unscaled", "called"),
    [
        (0.6, 0.01, "closer by scale"),
        (0.6, -0.6, "closer by scale"),
        (0.6, np.nan, "closer by scale"),
        (0.6, 0.6, "closer"),
        (0.01, 0.01, "not told apart"),
        (-0.6, 0.6, "farther by scale"),
        (-0.6, 0.01, "farther by scale"),
        (-0.6, -0.6, "farther"),
        (0.01, 0.6, "not told apart"),
    ],
)
def test_what_is_told_apart_by_scale_alone_is_called_so(whole: float, unscaled: float, called: Any) -> None:
    measures = made(shift_cosine=whole, shift_cosine_unscaled=unscaled)
    found = card(measures)
    assert closeness_called(measures) == called
    assert found.badge == BADGES[called]
    by_scale = called.endswith(" by scale")
    assert (BY_SCALE in found.limits) == ("but not clearly without the part" in found.rival) == by_scale
    assert ("By moves that do not scale the scores: " in found.rival) == np.isfinite(unscaled)
    assert f"untrained models {rounded(measures['mean_shift_cosine'].nulls[UNTRAINED][0, 0])} to " in found.rival


def closeness(low: float, high: float, random: np.ndarray, n: int = FEWEST, replicate: str = "sequence") -> Any:
    mean = replace(made()["mean_shift_cosine"], n=n, replicate=replicate)
    interval = (np.full(2, low), np.full(2, high))
    nulls = {RANDOM: np.repeat(random[:, None], 2, axis=1)}
    found = Closeness.of({"mean_shift_cosine": replace(mean, interval=interval, nulls=nulls)})
    assert found is not None
    return found.called


def test_only_an_interval_beyond_all_draws_is_told_apart() -> None:
    random = np.linspace(-0.1, 0.1, 20)
    assert closeness(0.11, 0.2, random) == "closer"
    assert closeness(0.09, 0.2, random) == "not told apart"
    assert closeness(-0.2, -0.11, random) == "farther"
    assert closeness(-0.2, -0.09, random) == "not told apart"
    assert closeness(np.nan, np.nan, random) == "cannot tell"
    assert smallest_p(ENOUGH) <= 0.05 < smallest_p(ENOUGH - 1)
    assert closeness(0.11, 0.2, random[:ENOUGH]) == "closer"
    assert closeness(0.11, 0.2, random[: ENOUGH - 1]) == "cannot tell"
    assert closeness(0.11, 0.2, random, n=FEWEST - 1) == "cannot tell"
    assert closeness(0.11, 0.2, random, n=3, replicate="seed") == "closer"


def test_too_little_to_tell_says_what_there_is_too_little_of() -> None:
    one, four, few = (card(made(shift_cosine=0.6, **lacking)) for lacking in ({"n": 1}, {"n": 4}, {"draws": 5}))
    assert "cannot be told: 1 sequence is too few." in one.rival
    assert "cannot be told: 4 sequences are too few." in four.rival
    assert "cannot be told: 5 random directions are too few." in few.rival
    assert one.badge == four.badge == few.badge == BADGES["cannot tell"]
    assert "all draws" not in one.rival + four.rival + few.rival
    assert one.evidence == "One sequence: no intervals."


def test_heads_beyond_all_draws_are_counted_beside_those_by_chance() -> None:
    cosine = np.array([[0.5, 0.6, 0.0], [-0.5, 0.0, 0.01]])
    measures = made(shift_cosine=cosine)
    beyond = beyond_random(measures)
    assert beyond is not None
    np.testing.assert_array_equal(beyond.above, cosine > 0.1)
    np.testing.assert_array_equal(beyond.below, cosine < -0.1)
    assert beyond.by_chance == 6 / 21
    cosines = measures["shift_cosine"]
    wide = replace(cosines, interval=(cosines.values - 1, cosines.values + 1))
    crossed = beyond_random({"shift_cosine": wide})
    assert crossed is not None
    assert not (crossed.above | crossed.below).any()
    found = card(measures)
    assert (
        "The interval lies above all draws in 2 of 6 heads, below all in 1; on average at most 0.29 would lie on each"
        " side by chance."
    ) in found.rival
    assert SHARED in found.limits
    none = card(made(shift_cosine=0.01))
    assert "above all draws in 0 of 6 heads, below all in 0;" in none.rival
    assert SHARED not in none.limits


def test_random_directions_do_not_exceed_each_other_more_often_than_that() -> None:
    """A head whose directions are random, too: how often it is called is what is said, and no less."""
    rng, heads = np.random.default_rng(0), (40, 50)
    cosine = made()["shift_cosine"]
    values = rng.normal(size=(21, 2, *heads))
    measure = replace(
        cosine, values=values[0], interval=(values[0], values[0]), nulls={RANDOM: values[1:]}, own={},
        coords={"keys": KEYS},
    )  # fmt: skip
    beyond = beyond_random({"shift_cosine": measure})
    assert beyond is not None
    for called in (beyond.above, beyond.below):
        assert abs(int(called.sum()) - beyond.by_chance) < 4 * beyond.by_chance**0.5


def test_a_head_with_too_few_draws_is_not_counted() -> None:
    measures = made(shift_cosine=0.6)
    cosine = measures["shift_cosine"]
    samples = cosine.nulls[RANDOM].copy()
    samples[5:, :, 0, 1] = np.nan
    beyond = beyond_random({"shift_cosine": replace(cosine, nulls={RANDOM: samples})})
    assert beyond is not None
    assert (int(beyond.told.sum()), int(beyond.above.sum())) == (5, 5)
    assert not beyond.told[0, 1]
    assert beyond.by_chance == 5 / 21


# -- limits ------------------------------------------------------------------------------------------------------------


def limits(**settings: Any) -> str:
    return " ".join(card(made(**settings)).limits)


def test_what_the_theorems_do_not_say_is_always_said() -> None:
    for found in (card(made()), card(made(shift_cosine=0.9))):
        assert {THEOREMS, NO_GRADIENT, *SOURCE.notes} <= set(found.limits)
        assert "arXiv:2304.13276" in found.citations[0]


def test_premises_are_said_to_be_violated_where_they_are() -> None:
    violated = limits(premise_A=0.25, premise_x=1.0)
    assert "Of the queries this holds at 25" in violated
    assert "% for the move of the keys and at 1" in violated
    assert "the tight bounds |x|/2 and |A|/2 hold everywhere" in violated
    measures = made()
    for name, violated_still in {"mean_premise_A": True, "mean_premise_x": False}.items():
        held = measures[name]
        measures[name] = replace(held, values=np.ones(2), interval=(np.ones(2), np.ones(2)))
        assert ("Premise violated" in " ".join(card(measures).limits)) == violated_still


def test_position_0_is_named_where_it_makes_a_difference() -> None:
    assert "Much hangs on position 0: without it among the keys, the new keys shift attention by 0.2" in limits(
        later={"shift_A": 2.0}
    )
    assert "shift attention by 0.05" in limits(later={"shift_A": 0.5})
    assert "position 0" not in limits()


def test_few_sequences_are_named() -> None:
    assert "The bootstrap resamples only 4 sequences" in limits(n=4)
    assert "The bootstrap" not in limits(n=FEWEST)
    assert "One sequence has no interval." in limits(n=1)
    assert "One sequence" not in limits(n=4)
    assert card(made(n=4)).evidence == "Bootstrap over 4 sequences."


# -- several seeds, tables and definitions -----------------------------------------------------------------------------


def test_models_without_seeds_are_told_as_models_and_not_as_sequences() -> None:
    models = made(), made(seed=1)
    found = card({name: mean_over("checkpoint", [of[name] for of in models]) for name in models[0]})
    assert found.evidence == "t-interval over 2 checkpoints."
    assert "bootstrap" not in found.methods
    assert BY_SEED.format("checkpoint") in found.limits
    assert not any("bootstrap" in limit for limit in found.limits)


def test_over_seeds_only_means_over_heads_are_spoken_of() -> None:
    found = card(over_seeds(*(made(seed=seed, shift_cosine=0.6 + 0.01 * seed) for seed in range(3))))
    assert "no layer shifts by more than" in found.found
    assert "no head" not in found.found
    assert "heads, below" not in found.rival
    assert "(minimum to maximum of 60)" in found.rival
    assert found.badge == BADGES["closer"]
    assert found.evidence == "t-interval over 3 seeds."
    assert BY_SEED.format("seed") in found.limits
    assert BY_SEED.format("seed") not in card(made()).limits
    assert "t-interval over 3 seeds" in found.methods
    assert "bootstrap" not in found.methods


def test_columns_of_the_table_of_heads_are_numbers_of_heads() -> None:
    measures = made()
    for column in COLUMNS:
        chosen = measures[column.measure].sel(**column.labels)
        assert chosen.axes == ("layer", "head")
        assert column.null in chosen.nulls


def test_every_measure_of_heads_is_defined() -> None:
    assert set(UNITS) <= set(DEFINITIONS)
    assert set(HEAD_DEFINITIONS) <= set(UNITS)
