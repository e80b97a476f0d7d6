"""Measures of copy models: what was planted is found, what is not there is not, and saturated numbers gain nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from mesascope.data.copying import CopyTask
from mesascope.data.recipe import named_seed
from mesascope.models import plant_anti_attention, plant_copying
from mesascope.models.copy_models import CopyModel
from mesascope.probes.attention_learning.agreement import agreement
from mesascope.probes.attention_learning.copy_reading import read_copies
from mesascope.probes.attention_learning.names import PAIRS
from mesascope.probes.attention_learning.proxy import fitted_proxy
from mesascope.probes.attention_learning.standing import standing_of
from mesascope.probes.measure import Measure, Measures

from .planted_copies import NO_TWIN, SEQUENCES, measured, random_copy, sourced

ACCURACIES = ("task_accuracy", "attention_accuracy", "ktiw_accuracy")


def accuracies(measures: Mapping[str, Measure]) -> list[float]:
    return [measures[name].estimate for name in ACCURACIES]


def planted(**how: object) -> CopyModel:
    return sourced(plant_copying(**how), {"n_words": 12, "n_tokens": 12})  # pyright: ignore[reportArgumentType]


def pair(measures: Mapping[str, Measure], name: str) -> Measure:
    return measures["agreement"].sel(pair=name)


# -- planted -----------------------------------------------------------------------------------------------------------


def test_a_model_that_attends_right_and_knows_words() -> None:
    measures = measured(planted(), planted(attention="uniform")).measures
    assert accuracies(measures) == [1, 1, 1]
    for name in ("beta", "uniform", "saliency", "own_saliency"):
        assert pair(measures, name).estimate == 1, name
        assert standing_of(pair(measures, name)) == "above", name
    assert {"head_agreement", "head_attention_accuracy", "head_ktiw_accuracy"}.isdisjoint(measures)


def test_a_model_that_attends_elsewhere() -> None:
    measures = measured(planted(attention="wrong")).measures
    assert accuracies(measures) == [0, 0, 1]
    assert pair(measures, "beta").estimate == 0
    assert standing_of(pair(measures, "beta")) == "below"


def test_anti_attention_is_against_beta_and_against_knowledge() -> None:
    measures = measured(sourced(plant_anti_attention(), {"n_words": 12, "n_tokens": 12})).measures
    assert accuracies(measures) == [1, 0, 0]
    # all places but the right one share the largest attention, and beta is lowest at the right one
    assert pair(measures, "beta").estimate == pytest.approx(1 / 11)


def test_chance_beside_accuracies() -> None:
    measures = measured(sourced(plant_copying(15, 12), {"n_words": 15, "n_tokens": 12})).measures
    chances = [measures[name].nulls["chance"].tolist() for name in ACCURACIES]
    assert chances == [[1 / 15], [1 / 12], [1 / 15]]
    assert all(measures[name].higher_is_better for name in ACCURACIES)
    assert {measures[name].replicate for name in ACCURACIES} == {"sequence"}


# -- independent formulas ----------------------------------------------------------------------------------------------


def test_agreements_are_those_of_the_readings() -> None:
    """Formed here from the readings, the twin's beta and a proxy fitted to the same bags. Of more than 20 sources the
    two largest count, so u and v cannot change sides.
    """
    tasks = {"n_words": 25, "n_tokens": 22}
    subject = sourced(random_copy(1, n_words=25, n_places=22).module, tasks)
    twin = sourced(random_copy(2, n_words=25, n_places=22, uniform_attention=True).module, tasks)
    found = measured(subject, twin, seed=5)
    task = CopyTask(**tasks)
    tokens = task.sample(SEQUENCES, named_seed(5, "copied sources")).tokens
    bags = task.sample(512, named_seed(5, "co-occurrence")).tokens
    own, others = read_copies(subject, tokens, 32), read_copies(twin, tokens, 32)
    proxy = fitted_proxy(bags, bags, 25)
    assert not isinstance(proxy, str)
    said = torch.stack([torch.stack([proxy.table[row, word] for word in row]) for row in tokens])  # [sequence target s]
    sides = {
        "beta": (own.attention, own.beta),
        "uniform": (own.attention, others.beta),
        "proxy": (others.beta, said),
        "own_proxy": (own.beta, said),
        "saliency": (own.saliency, others.beta),
        "own_saliency": (own.saliency, own.beta),
    }
    assert set(sides) == set(PAIRS)
    for name, (u, v) in sides.items():
        of_sequences = agreement(u.numpy(), v.numpy()).mean(axis=1)
        assert pair(found.measures, name).estimate == pytest.approx(of_sequences.mean(), abs=1e-12), name
        assert set(pair(found.measures, name).nulls) == {"shuffled", "other targets"}
    assert Measures(found.measures)["agreement_own_proxy"].estimate == pair(found.measures, "own_proxy").estimate
    np.testing.assert_array_equal(found.arrays["attention"], own.attention.numpy())
    np.testing.assert_array_equal(found.arrays["push"], own.push.numpy())
    assert found.measures["ktiw_accuracy"].estimate == pytest.approx(float(own.ktiw.mean()))
    assert found.measures["attention_accuracy"].estimate == pytest.approx(float(own.attended.mean()))
    assert found.measures["task_accuracy"].estimate == pytest.approx(float(own.task.mean()))
    # heads by themselves
    assert own.heads is not None
    for head in range(2):
        place = {"layer": 0, "head": head}
        expected = agreement(own.heads.attention[:, head].numpy(), own.heads.beta[:, head].numpy()).mean()
        assert found.measures["head_agreement"].sel(pair="beta", **place).estimate == pytest.approx(expected)
        of_head = found.measures["head_attention_accuracy"].sel(**place)
        assert of_head.estimate == pytest.approx(float(own.heads.attended[:, head].mean()))
        assert of_head.nulls["chance"].tolist() == [1 / 22]
        of_head = found.measures["head_ktiw_accuracy"].sel(**place)
        assert of_head.estimate == pytest.approx(float(own.heads.ktiw[:, head].mean()))
        assert of_head.nulls["chance"].tolist() == [1 / 25]


def test_the_inputs_are_the_tasks_of_the_record() -> None:
    found = measured(sourced(plant_copying(15, 12), {"n_words": 14, "n_tokens": 10}), seed=3)
    recipe = found.recipes["evaluation"]
    assert recipe.settings == {"n_words": 14, "n_tokens": 10}
    assert (recipe.n, recipe.seed) == (SEQUENCES, named_seed(3, "copied sources"))
    assert (found.recipes["co-occurrence"].n, found.recipes["co-occurrence"].settings) == (512, recipe.settings)
    assert found.arrays["attention"].shape == (SEQUENCES, 10, 10)
    other = measured(sourced(plant_copying(15, 12), {"n_words": 14, "n_tokens": 10}), seed=4)
    assert {s: r.sha256 for s, r in other.recipes.items()}.items().isdisjoint(
        {s: r.sha256 for s, r in found.recipes.items()}.items()
    )


def test_the_same_numbers_again() -> None:
    subject = random_copy(3, n_words=9, n_places=7)
    one, other = measured(subject), measured(subject)
    for name, measure in one.measures.items():
        np.testing.assert_array_equal(measure.values, other.measures[name].values)
        np.testing.assert_array_equal(measure.interval, other.measures[name].interval)


# -- numbers that say nothing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_words", [5, 12, 21])
def test_values_of_zero_gain_nothing(n_words: int) -> None:
    """A constant beta agrees with everything under the paper's strict inequality."""
    tasks = {"n_words": n_words, "n_tokens": n_words}
    subject = sourced(plant_copying(n_words, n_words, knows_words=False), tasks)
    for n in (16, 64, 100):
        beta = pair(measured(subject, n=n).measures, "beta")
        chance = -(-n_words // 20) / n_words
        assert beta.estimate == pytest.approx(chance, rel=1e-12)
        for samples in beta.nulls.values():
            np.testing.assert_allclose(samples, chance, rtol=1e-12)
        assert standing_of(beta) == "not told apart"
        assert beta.message.endswith("; beta is the same for every source: this is chance")


def test_attention_that_is_uniform_gains_nothing() -> None:
    measures = measured(planted(attention="uniform")).measures
    assert accuracies(measures) == pytest.approx([1 / 12, 1 / 12, 1])
    beta = pair(measures, "beta")
    assert beta.estimate == pytest.approx(1 / 12, rel=1e-12)
    assert standing_of(beta) == "not told apart"
    assert beta.message.endswith("; attention is the same for every source: this is chance")
    nothing = pair(measured(planted(attention="uniform", knows_words=False)).measures, "beta")
    assert nothing.message.endswith("; attention and beta are the same for every source: this is chance")
    assert "the same for every source" not in pair(measured(planted()).measures, "beta").message


def test_a_saturated_beta_has_no_higher_baseline() -> None:
    """Beta of a model that is sure: one large number, and all others equal. Ties gain their share and no more."""
    measures = measured(planted(confidence=1000.0)).measures
    for name, samples in pair(measures, "beta").nulls.items():
        assert np.mean(samples) == pytest.approx({"shuffled": 1 / 12, "other targets": 0}[name], abs=0.03)


# -- what there is not -------------------------------------------------------------------------------------------------


def test_without_a_twin() -> None:
    measures = measured(planted()).measures
    for name in ("uniform", "proxy", "saliency"):
        missing = pair(measures, name)
        assert (missing.status, missing.message) == ("not applicable", NO_TWIN)
    for name in ("beta", "own_proxy", "own_saliency"):
        assert pair(measures, name).status == "ok"


def test_a_vocabulary_too_large_for_co_occurrence() -> None:
    subject = random_copy(n_words=600, n_places=4)
    measures = measured(subject).measures
    assert "at most 512 words" in pair(measures, "own_proxy").message
    assert pair(measures, "proxy").message == f"{NO_TWIN}; {pair(measures, 'own_proxy').message}"


def test_one_checkpoint_has_no_training_and_says_so() -> None:
    measures = measured(planted()).measures
    for name in ("agreement_push", "first_crossing", "ktiw_lead"):
        assert (measures[name].status, measures[name].unit[:5]) == (
            "not applicable",
            {"a": "share"}.get(name[0], "train"),
        )
        assert measures[name].message.startswith("one step: ")


# -- trained -----------------------------------------------------------------------------------------------------------


def test_co_occurrence_tells_where_sources_differ_in_what_they_hold(checkpoints_of: Callable[..., list]) -> None:
    """Attention goes where the twin's beta is largest, and that is what co-occurrence says."""
    last = [one for one in checkpoints_of("some of all") if one.source.step == 70]
    for one in last:
        assert pair(one.measures, "uniform").estimate > 0.9
        assert pair(one.measures, "proxy").estimate > 0.9
        assert standing_of(pair(one.measures, "proxy")) == "above"


def test_co_occurrence_tells_nothing_where_every_source_holds_all_words(checkpoints_of: Callable[..., list]) -> None:
    last = [one for one in checkpoints_of("permutations") if one.source.step == 70]
    assert max(one.measures["task_accuracy"].estimate for one in last) == 1  # and yet some learn
    for one in last:
        assert pair(one.measures, "proxy").estimate == pytest.approx(1 / 20, rel=1e-12)
        assert standing_of(pair(one.measures, "proxy")) == "not told apart"
        assert "co-occurrence is the same for every source" in pair(one.measures, "proxy").message
        assert pair(one.measures, "uniform").estimate < 0.3
