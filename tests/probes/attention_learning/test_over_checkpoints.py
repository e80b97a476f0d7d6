"""Several checkpoints together: planted ones, and trainings that take a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from mesascope.models import plant_anti_attention, plant_copying
from mesascope.models.own.copy_transformer import CopyTransformer
from mesascope.probes.attention_learning.names import map_name, mapped
from mesascope.probes.attention_learning.over_checkpoints import over_checkpoints
from mesascope.probes.attention_learning.over_words import KTIW_COMES_FIRST, NO_DRIVER
from mesascope.probes.measure import missing
from mesascope.probes.probe import Checkpoint, OverTraining

from .planted_copies import checkpoint, made_up, recipe, sourced, trained

Checkpoints = list[Checkpoint]
OfTraining = Callable[..., Checkpoints]


def over(checkpoints: Sequence[Checkpoint]) -> OverTraining:
    return over_checkpoints(checkpoints, 0.95)


def planted(seed: int, *modules: CopyTransformer) -> Checkpoints:
    """These models as the steps 0, 20, … of a training of permutations."""
    tasks = {"n_words": 12, "n_tokens": 12}
    made = [sourced(module, tasks, seed=seed, step=20 * place) for place, module in enumerate(modules)]
    return [checkpoint(subject) for subject in made]


# -- planted -----------------------------------------------------------------------------------------------------------


def test_attention_that_is_right_from_the_start_does_not_follow_knowledge() -> None:
    attends, both = plant_copying(knows_words=False), plant_copying()
    found = over([one for seed in range(8) for one in planted(seed, attends, attends, both)])
    assert (
        "KTIW passes one half before attention in 0 of 8 seeds, and after it in 8. Attention comes first."
        in found.sentence
    )
    assert KTIW_COMES_FIRST not in found.sentence
    assert NO_DRIVER not in found.limits
    assert found.measures["ktiw_lead"].estimate == -40
    assert found.measures["learned"].values.tolist() == [0, 0, 1]


def test_knowledge_before_attention() -> None:
    neither, knows = plant_copying(knows_words=False, attention="uniform"), plant_copying(attention="uniform")
    found = over([one for seed in range(8) for one in planted(seed, neither, knows, plant_copying())])
    assert KTIW_COMES_FIRST in found.sentence
    assert NO_DRIVER in found.limits
    assert found.badge == "8 of 8 seeds learn to copy"
    assert found.measures["first_crossing"].values.tolist() == [20, 40, 40]
    # beta pushes even attention to the right place, and there it goes
    assert found.measures["agreement_push"].values == pytest.approx([1 / 12, 1])
    three = over([one for seed in range(3) for one in planted(seed, neither, knows, plant_copying())])
    assert KTIW_COMES_FIRST not in three.sentence


def test_the_end_of_a_training_is_told_by_how_it_copies() -> None:
    ends = [plant_copying(), plant_anti_attention(), plant_copying(knows_words=False)]
    found = over([one for seed, module in enumerate(ends) for one in planted(seed, module)])
    assert found.sentence.startswith(
        "2 of 3 seeds learn to copy (95 % CI 9 to 99 %). Of these, 1 does so by anti-attention."
    )
    assert found.measures["outcome"].sel(outcome="anti-attention").estimate == pytest.approx(1 / 3)
    assert {"first_crossing", "ktiw_lead", "crossing_order"}.isdisjoint(found.measures)  # a step has none
    assert found.measures["agreement_push"].status == "not applicable"


def test_one_training_has_no_share_of_seeds() -> None:
    found = over(planted(0, plant_copying(attention="uniform"), plant_copying()))
    assert {"first_crossing", "ktiw_lead", "crossing_order", "agreement_push"} == set(found.measures)
    assert found.sentence.startswith("Passing one half: KTIW at step 0, attention accuracy at step 20.")
    assert found.badge == ""


def test_language_models_have_a_push_and_no_more() -> None:
    """Of these nobody knows where attention should be."""
    made = []
    for seed in (0, 1):
        for step in (0, 20):
            one = made_up(seed, step, map_=np.random.default_rng(step).normal(size=(3, 2, 2, 9, 9)))
            arrays = {**one.arrays, "push": np.random.default_rng(7).normal(size=(3, 2, 2, 9, 9))}
            unknown = missing("share", "not applicable", "no gold source")
            made.append(replace(one, measures={**one.measures, "attention_accuracy": unknown}, arrays=arrays))
    found = over(made)
    assert list(found.measures) == ["agreement_push", "first_crossing", "ktiw_lead"]
    for name in ("first_crossing", "ktiw_lead"):
        assert "is not known of a language model" in found.measures[name].message
    assert found.sentence.startswith("Where beta pushes attention most")
    assert (found.badge, found.limits, found.arrays) == ("", (), {})
    absent = [replace(one, measures={}) for one in made]
    assert over(absent).measures.keys() == found.measures.keys()
    assert list(over(made[::2]).measures) == [
        "agreement_push"
    ]  # one step of two seeds: "one checkpoint" of each is true


# -- maps --------------------------------------------------------------------------------------------------------------


def test_mean_attention_is_kept_of_few_runs_and_steps() -> None:
    def shown(seed: int, step: int) -> np.ndarray:
        return np.random.default_rng([seed, step]).random((2, 20, 20))

    steps = range(0, 400, 20)
    arrays = over([made_up(seed, step, map_=shown(seed, step)) for seed in range(5) for step in steps]).arrays
    places = list(mapped(arrays))
    assert {seed for seed, _ in places} == {0, 1, 2}
    for seed in range(3):
        kept = [step for of, step in places if of == seed]
        assert (len(kept), kept[0], kept[-1]) == (12, 0, 380)
    np.testing.assert_allclose(arrays[map_name(1, 380)], shown(1, 380).mean(axis=0))
    few = over([made_up(None, step) for step in (0, 20)])
    assert list(mapped(few.arrays)) == [(None, 0), (None, 20)]


# -- trained -----------------------------------------------------------------------------------------------------------


def test_where_sources_differ_all_seeds_learn(checkpoints_of: OfTraining) -> None:
    found = over(checkpoints_of("some of all"))
    assert found.sentence.startswith("4 of 4 seeds learn to copy by step 70")
    assert found.measures["learned"].values.tolist() == [0, 0, 0, 0, 1]
    # beta agrees with attention at every target, and no run can agree more
    assert found.measures["xi"].status == "undefined"
    assert found.measures["xi_star"].estimate == 1


def test_where_every_source_holds_all_words_some_do_not(checkpoints_of: OfTraining) -> None:
    found = over(checkpoints_of("permutations"))
    assert found.badge == "2 of 4 seeds learn to copy"
    assert found.measures["outcome"].at(step=-1).values.tolist() == [0.5, 0, 0, 0.5]


def test_the_order_of_checkpoints_does_not_matter(checkpoints_of: OfTraining) -> None:
    made = checkpoints_of("permutations")
    one, other = over(made), over(made[::-1])
    assert (one.sentence, one.badge, one.limits) == (other.sentence, other.badge, other.limits)
    for name, measure in one.measures.items():
        np.testing.assert_allclose(measure.values, other.measures[name].values)
        np.testing.assert_allclose(measure.interval, other.measures[name].interval)


def test_uniform_attention_learns_words_where_co_occurrence_tells_them(checkpoints_of: OfTraining) -> None:
    told = over(checkpoints_of("some of all", range(3), (0, 100), uniform_attention=True))
    assert "are known in 3 of 3 seeds by step 100: KTIW needs no attention." in told.sentence
    assert told.badge == "KTIW without attention"
    assert KTIW_COMES_FIRST not in told.sentence
    # attention does not change, whatever it is pushed to: chance, and no more
    assert told.measures["agreement_push"].values == pytest.approx([1 / 20])
    assert "pushes attention" not in told.sentence
    untold = over(checkpoints_of("permutations", range(3), (0, 100), uniform_attention=True))
    assert "are known in 0 of 3 seeds by step 100: every source holds all words, and co-occ" in untold.sentence
    assert untold.badge == "No KTIW without attention"


def test_with_frozen_beta_attention_does_not_form(checkpoints_of: OfTraining) -> None:
    found = over(checkpoints_of("some of all", range(3), (0, 100), frozen_beta=True))
    assert "in 0 of 3 seeds by step 100: attention does not form without KTIW." in found.sentence
    assert found.badge == "No attention without KTIW"


def test_anti_attention_is_learned_and_recognised() -> None:
    """Of 16 words, wider models solve permutations either way."""
    of = recipe({"n_words": 16, "n_tokens": 16}, range(4), (100,), model={"d_model": 64, "d_head": 64}, batch_size=32)
    found = over([checkpoint(subject) for subject in trained(of)])
    shares = dict(zip(found.measures["outcome"].coords["outcome"], found.measures["outcome"].values, strict=True))
    assert shares["anti-attention"] >= 0.25
    assert shares["by attention"] >= 0.25
    n = round(4 * shares["anti-attention"])
    assert f"Of these, {n} {'does' if n == 1 else 'do'} so by anti-attention." in found.sentence
