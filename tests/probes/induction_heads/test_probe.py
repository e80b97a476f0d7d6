"""The probe on circuits whose weights we wrote, their near misses, shipped checkpoints, and inputs that do not fit."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from mesascope.data import RepeatedTokens
from mesascope.models import AttentionOnlyModel, AttentionOnlyTransformer, load
from mesascope.models.constructed.induction import induction_circuit, near_misses
from mesascope.models.language_model import LanguageModel
from mesascope.probes import Findings
from mesascope.probes.induction_heads.access import Access
from mesascope.probes.induction_heads.experiment import Experiment, Passes
from mesascope.probes.induction_heads.inputs import period_inputs, period_laws
from mesascope.probes.induction_heads.names import NO_REPEATS, PERMUTED, RANDOM_HEADS, ROTATED, SHUFFLED_REPEAT
from mesascope.probes.induction_heads.observations import observe
from mesascope.probes.induction_heads.probe import InductionHeads
from mesascope.probes.induction_heads.score_measures import Comparison, head_measures

SHARED = Path(os.environ.get("MESASCOPE_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
LEGACY = SHARED / "attention-only-induction"
SIZES = {"d_vocab": 24, "n_ctx": 24}  # periods 11, 8 and 5
PROBE = InductionHeads()


def measure(subject: LanguageModel, probe: InductionHeads = PROBE, batch: int = 16, seed: int = 0) -> Findings:
    return probe.measure(subject, seed, batch)


def verdicts(subject: LanguageModel, probe: InductionHeads = PROBE, batch: int = 16) -> dict[str, str]:
    return probe.heads(measure(subject, probe, batch).measures)


@cache
def of_circuit() -> Findings:
    return measure(induction_circuit(**SIZES))


@cache
def of_shipped(name: str) -> Findings:
    return measure(load(name))


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the null does not matter, one draw is enough."""
    monkeypatch.setattr("mesascope.probes.induction_heads.observations.NULL_DRAWS", (1, 1))


# -- found -------------------------------------------------------------------------------------------------------------


def test_a_planted_circuit_is_found_exactly() -> None:
    found = of_circuit()
    measures = found.measures
    assert PROBE.heads(measures) == {"L0H0": "previous-token", "L1H0": "induction"}
    assert np.abs(measures["prefix_matching_score"].values - [[0], [1]]).max() < 1e-6
    assert np.abs(measures["excess_by_period"].values[:, 1, 0] - 1).max() < 1e-6
    assert measures["excess_by_period"].labels("period") == (11, 8, 5)
    assert measures["previous_token_score"].values[0, 0] == pytest.approx(1, abs=1e-6)
    assert measures["accuracy_second_repeat"].estimate == 1
    everything = np.log(23)  # every token but BOS
    for name in ("loss_first_repeat", "in_context_learning_score"):
        assert measures[name].estimate == pytest.approx(everything, abs=1e-4)
    assert measures["loss_second_repeat"].estimate == pytest.approx(0, abs=1e-4)
    assert np.nanmax(np.abs(measures["group_ablation"].sel(replacement="zero").values - everything)) < 1e-4
    assert np.nanmax(np.abs(measures["in_context_learning_without"].sel(replacement="mean").values)) < 1e-4
    # in a shuffled repeat it expects another token each time: a logit of 20, all others 0
    tokens = RepeatedTokens(11, SIZES["d_vocab"], bos=0).shuffled(16, 0).tokens
    twice = float((tokens[:, 11] == tokens[:, 12]).double().mean())  # it never attends to itself, and knows nothing
    misled = (1 - twice / 10) * np.log(np.exp(20) + 22) + twice / 10 * everything
    assert measures["loss_shuffled_repeat"].estimate == pytest.approx(misled, abs=1e-3)
    assert measures["order_gain"].estimate == pytest.approx(misled, abs=1e-3)
    assert measures["strength"].values[1, 0] == pytest.approx(1, abs=1e-6)
    assert np.isnan(measures["strength"].values[0, 0])
    assert measures["near_threshold"].values.sum() == 0


def test_the_peak_moves_with_the_period() -> None:
    for period in (11, 8, 5):
        by_offset = of_circuit().measures["attention_by_offset"].sel(period=period)
        assert by_offset.axes == ("layer", "head", "offset")
        assert by_offset.labels("offset")[np.nanargmax(by_offset.values[1, 0])] == period - 1
        assert np.nanmax(by_offset.nulls[NO_REPEATS][0, 1, 0]) < 1e-6


def test_significance_is_as_small_as_the_flips_allow() -> None:
    p = of_circuit().measures["p_adjusted"].values
    assert p[1, 0] < 0.05 / 5 < p[0, 0] == 1


@pytest.mark.usefixtures("few_draws")
@pytest.mark.parametrize("repeats", [2, 3])
def test_more_repeats_than_two(repeats: int) -> None:
    probe = InductionHeads(repeats=repeats, periods=(7, 5), n_sequences=8, ablate="nothing")
    found = measure(induction_circuit(**SIZES), probe)
    assert probe.heads(found.measures)["L1H0"] == "induction"
    assert found.measures["prefix_matching_score"].values[1, 0] == pytest.approx(1, abs=1e-6)


def test_shipped_two_layers_do_induction_together() -> None:
    measures = of_shipped("induction-2layer").measures
    heads = PROBE.heads(measures)
    induction = [name for name, label in heads.items() if label == "induction"]
    previous = [name for name, label in heads.items() if label == "previous-token"]
    assert induction
    assert previous
    assert {name[1] for name in induction} == {"1"}
    assert {name[1] for name in previous} == {"0"}
    composition = measures["composition"].sel(read_by="keys")
    k, null = composition.values, composition.nulls[ROTATED]
    for first in previous:
        for second in induction:
            place = (0, int(first[-1]), 1, int(second[-1]))
            assert k[place] > 1.5 * null[(slice(None), *place)].max()
    learned = measures["in_context_learning_score"].estimate
    assert learned > 3
    assert np.nanmax(np.abs(measures["in_context_learning_without"].values)) < 0.1 * learned
    assert np.nanmin(measures["group_ablation"].interval[0]) > 0.8 * learned
    assert np.isnan(measures["group_ablation"].sel(group="strongest unnamed").values).all()
    in_any_order = measures["in_context_learning_score"].nulls[SHUFFLED_REPEAT]
    assert in_any_order < 0  # it expects the first order, and is misled
    rise = measures["group_ablation"].sel(replacement="zero", group="induction")
    assert rise.estimate > rise.nulls[RANDOM_HEADS].max() + 1


def test_shipped_single_layer_copies_and_has_no_induction_head() -> None:
    measures = of_shipped("induction-1layer").measures
    assert not {"induction", "anti-induction"} & set(PROBE.heads(measures).values())
    assert (measures["ov_copying_score"].values > 0.9).sum() >= 2
    assert measures["composition"].status == "not applicable"
    groups = measures["group_ablation"].sel(replacement="mean")
    assert groups.sel(group="induction").status == "not applicable"
    assert groups.sel(group="strongest unnamed").interval[0] > 0  # it learns from the order, and nobody is named
    assert measures["order_gain"].interval[0] > 0.1
    words = PROBE.claim(measures, (load("induction-1layer").source,))
    assert words.found.startswith("None of the 4 heads is an induction head.")


@pytest.mark.usefixtures("few_draws")
@pytest.mark.skipif(not LEGACY.exists(), reason="no shared data beside the repository")
def test_a_working_circuit_that_others_trained_and_its_broken_copy() -> None:
    """Eight tokens of context, 26 letters, no BOS."""
    from json import loads

    config = loads((LEGACY / "config.json").read_text())
    found = {
        name: verdicts(load(LEGACY / f"{name}.safetensors", layout="tl-legacy", model_config=config))
        for name in ("working", "broken")
    }
    assert found["working"] == {"L0H0": "previous-token", "L1H0": "induction"}
    assert "induction" not in found["broken"].values()


def test_raw_values_stand_behind_the_means() -> None:
    found = of_circuit()
    assert found.recipes["evaluation"].n == 48
    behind = {name for name in found.arrays if not name.startswith("attention_")}  # kept to look at
    assert len(behind) > 10
    for name in behind:
        array, measure = found.arrays[name], found.measures[name]
        assert array.shape == (measure.n, *measure.values.shape)
        assert np.allclose(array.mean(axis=0), measure.values)
    assert found.arrays["excess"].shape == (48, 2, 1)
    assert found.arrays["loss_second_repeat"].shape == (16,), "at the longest period"
    assert found.arrays["loss_by_position"].shape[0] == 16


# -- not found ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("few_draws")
def test_near_misses_have_names_of_their_own() -> None:
    found = measure(near_misses(11, **SIZES))
    heads = PROBE.heads(found.measures)
    assert [heads[f"L1H{head}"] for head in range(4)] == ["fixed-offset", "duplicate-token", "anti-induction", "none"]
    assert heads["L0H0"] == "previous-token"
    assert found.measures["fixed_offset"].values[1, 0] == 10
    assert found.measures["prefix_matching_score"].values[1, 2] == pytest.approx(1, abs=1e-6)


@pytest.mark.usefixtures("few_draws")
@pytest.mark.parametrize(("shift", "label"), [(1, "first-token"), (-1, "duplicate-token")])
def test_a_circuit_shifted_by_one_is_not_called(shift: int, label: str) -> None:
    found = measure(induction_circuit(shift, **SIZES), InductionHeads(ablate="nothing"))
    assert PROBE.heads(found.measures)["L1H0"] == label
    assert found.measures["prefix_matching_score"].values[1, 0] < 0.1


@pytest.mark.usefixtures("few_draws")
def test_an_offset_that_fits_one_period_only_fools_that_period_only() -> None:
    found = measure(near_misses(11, **SIZES), InductionHeads(periods=11, n_sequences=12, ablate="nothing"))
    assert found.measures["prefix_matching_score"].values[1, 0] == pytest.approx(1, abs=1e-6)
    assert found.measures["excess"].values[1, 0] == pytest.approx(0, abs=1e-6)  # without repeats it looks there too
    assert PROBE.heads(found.measures)["L1H0"] == "fixed-offset"


def test_permuted_weights_reach_nothing() -> None:
    excess = of_circuit().measures["excess"]
    assert np.quantile(excess.nulls[PERMUTED], 0.99) < 0.05 < excess.values[1, 0]


# -- unmoved -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("few_draws")
def test_batches_and_threads_change_no_verdict() -> None:
    subject, probe = load("induction-2layer"), InductionHeads(periods=(6, 4), n_sequences=6, ablate="nothing")
    whole = measure(subject, probe, 16).measures
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        others = [measure(subject, probe, 16).measures]
    finally:
        torch.set_num_threads(threads)
    others.append(measure(subject, probe, 1).measures)
    for other in others:
        assert probe.heads(other) == probe.heads(whole)
        assert list(other) == list(whole)
        for name, of_one in whole.items():
            assert np.allclose(other[name].values, of_one.values, rtol=0, atol=1e-4, equal_nan=True), name


@pytest.mark.usefixtures("few_draws")
def test_reruns_are_the_same_bytes_and_other_seeds_are_not() -> None:
    subject, probe = induction_circuit(**SIZES), InductionHeads(periods=(6, 4), n_sequences=8)
    one, two, other = measure(subject, probe), measure(subject, probe), measure(subject, probe, seed=1)
    assert {n: m.values.tobytes() for n, m in one.measures.items()} == {
        n: m.values.tobytes() for n, m in two.measures.items()
    }
    for name, of_one in one.measures.items():
        for null, samples in of_one.nulls.items():
            assert samples.tobytes() == two.measures[name].nulls[null].tobytes(), (name, null)
        assert [b.tobytes() for b in of_one.interval] == [b.tobytes() for b in two.measures[name].interval]
    assert one.recipes == two.recipes
    assert one.recipes["evaluation"].sha256 != other.recipes["evaluation"].sha256
    name = "prefix_matching_score"
    assert one.measures[name].nulls[PERMUTED].tobytes() != other.measures[name].nulls[PERMUTED].tobytes()


@pytest.mark.usefixtures("few_draws")
def test_relabelled_heads_take_their_verdicts_along() -> None:
    subject = near_misses(11, **SIZES)
    parameters = {name: parameter.detach().clone() for name, parameter in subject.module.named_parameters()}
    for name in ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V"):
        parameters[name] = parameters[name].flip(1)
    turned = AttentionOnlyModel(AttentionOnlyTransformer(subject.config, parameters), subject.source)
    probe = InductionHeads(ablate="nothing")
    before, after = verdicts(subject, probe), verdicts(turned, probe)
    assert after == {name: before[f"{name[:3]}{3 - int(name[3:])}"] for name in after}


def test_the_order_of_the_sequences_changes_no_verdict() -> None:
    subject = load("induction-2layer")
    periods = period_inputs(period_laws(subject.shape, subject.bos, (12, 8), 2), 8, seed=0)
    observations = observe(Experiment(Passes(subject, 16), Access.to(subject), periods, seed=0))
    comparison = Comparison(periods, [], 0.05, seed=0)
    one = head_measures(observations, comparison)
    other = head_measures(observations.subset(slice(None, None, -1)), comparison)
    for name in set(one) - {"p_value", "p_adjusted"}:
        assert np.allclose(one[name].values, other[name].values), name
    assert np.array_equal(one["p_adjusted"].values <= 0.05, other["p_adjusted"].values <= 0.05)


@pytest.mark.usefixtures("few_draws")
def test_the_model_is_left_as_it_was() -> None:
    subject = induction_circuit(**SIZES)
    before = {name: parameter.clone() for name, parameter in subject.module.named_parameters()}
    state = torch.random.get_rng_state()
    measure(subject, InductionHeads(periods=4, n_sequences=10))
    assert all(torch.equal(before[name], parameter) for name, parameter in subject.module.named_parameters())
    assert torch.equal(torch.random.get_rng_state(), state)
