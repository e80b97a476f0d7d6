"""Controls: the larger one is taken off, sequence by sequence, and every number keeps its axes and nulls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mesascope.models import LanguageModelShape
from mesascope.probes.induction_heads.inputs import PeriodInputs, period_inputs, period_laws
from mesascope.probes.induction_heads.names import EVEN, NO_REPEATS, PERMUTED
from mesascope.probes.induction_heads.observations import Observations, PeriodObservations, even_attention
from mesascope.probes.induction_heads.score_measures import (
    Comparison,
    controls_note,
    duplicate_excess,
    excess_over_controls,
    head_measures,
    windows_note,
)
from mesascope.probes.induction_heads.watchers import kept_offsets

N, HEADS = 6, (2, 3)


@pytest.fixture(scope="module")
def periods() -> tuple[PeriodInputs, ...]:
    sizes = {"n_layers": 2, "n_heads": 3, "n_kv_heads": 3, "d_model": 8, "d_head": 2, "d_vocab": 99, "n_ctx": 64}
    shape = LanguageModelShape(**sizes, causal=True, positions="learned")
    return period_inputs(period_laws(shape, 0, (9, 7), 2), N, seed=0)


@pytest.fixture
def observations(periods: tuple[PeriodInputs, ...], rng: np.random.Generator) -> Observations:
    def observed(one: PeriodInputs) -> PeriodObservations:
        names = ("matching", "duplicate", "previous", "current", "first", "attribution")
        heads = {name: rng.random((N, *HEADS)) for name in names}
        heads["other_offsets"] = rng.random((N, *HEADS, len(one.other_offsets)))
        heads["by_offset"] = rng.random((N, *HEADS, len(kept_offsets(one.period))))
        return PeriodObservations(heads, {}, {})

    return Observations(tuple(map(observed, periods)), tuple(map(observed, periods)))


def test_the_larger_control_is_the_same_for_every_sequence_of_a_head(observations: Observations) -> None:
    found = excess_over_controls(observations, 0)
    repeated, control = observations.repeated[0].heads, observations.control[0].heads
    for layer, head in np.ndindex(HEADS):
        controls = [control["matching"][:, layer, head], *repeated["other_offsets"][:, layer, head].T]
        larger = max(controls, key=lambda samples: samples.mean())
        assert np.allclose(found[:, layer, head], repeated["matching"][:, layer, head] - larger)


def test_without_other_periods_the_sequence_without_repeats_is_the_control(observations: Observations) -> None:
    alone = {name: array for name, array in observations.repeated[0].heads.items() if name != "other_offsets"}
    found = excess_over_controls(Observations((PeriodObservations(alone, {}, {}),), observations.control[:1]), 0)
    assert np.allclose(found, alone["matching"] - observations.control[0].heads["matching"])


def test_duplicates_are_read_beside_the_same_offset(observations: Observations) -> None:
    expected = observations.repeated[1].heads["duplicate"] - observations.control[1].heads["duplicate"]
    assert np.array_equal(duplicate_excess(observations, 1), expected)


def test_every_score_is_a_mean_over_its_own_sequences(
    observations: Observations, periods: tuple[PeriodInputs, ...]
) -> None:
    """Content on repeats, positions where nothing repeats; all periods pooled."""
    found = head_measures(observations, Comparison(periods, [observations] * 3, 0.05, seed=0))
    for name, key in {"prefix_matching_score": "matching", "duplicate_token_score": "duplicate"}.items():
        values = np.mean([observed.heads[key] for observed in observations.repeated], axis=(0, 1))
        assert np.allclose(found[name].values, values)
        assert found[name].nulls[NO_REPEATS].shape == (2, *HEADS)
        assert np.allclose(found[name].nulls[PERMUTED], values)
    for name in ("previous", "current", "first"):
        values = np.mean([observed.heads[name] for observed in observations.control], axis=(0, 1))
        assert np.allclose(found[f"{name}_token_score"].values, values)
    assert found["prefix_matching_score"].n == 2 * N
    assert found["prefix_matching_score"].replicate == "sequence"
    assert found["prefix_matching_score"].message == ""
    assert found["excess"].message == "2 of 3 periods were used (9 and 7)"
    for place in range(2):
        excess = excess_over_controls(observations, place).mean(axis=0)
        assert np.allclose(found["excess_by_period"].values[place], excess)
        low, high = found["excess_by_period"].interval
        assert (low[place] <= excess).all()
        assert (excess <= high[place]).all()


def test_a_fixed_offset_is_the_largest_from_two_on_without_repeats(
    observations: Observations, periods: tuple[PeriodInputs, ...]
) -> None:
    offsets = observations.control[0].heads["by_offset"]
    offsets[..., :2] = 1.0  # the current and the previous token have scores of their own
    offsets[:, 1, 2, 4] = 0.99
    found = head_measures(observations, Comparison(periods, [], 0.05, seed=0))
    assert found["fixed_offset"].values[1, 2] == 4
    assert found["fixed_offset_score"].values[1, 2] == pytest.approx(0.99)
    assert (found["fixed_offset"].values >= 2).all()
    even = found["fixed_offset_score"].nulls[EVEN][0, 1, 2]
    assert even == pytest.approx(np.mean([1 / (i + 1) for i in range(10, 19)]))


def test_without_weights_to_permute_the_measures_say_so(
    observations: Observations, periods: tuple[PeriodInputs, ...]
) -> None:
    found = head_measures(observations, Comparison(periods, [], 0.05, seed=0))
    assert not found["excess"].nulls
    assert "cannot read this model's weights" in found["excess"].no_nulls


def test_layers_that_cannot_see_as_far_back_are_named(observations: Observations) -> None:
    assert windows_note(observations) == ""
    seen = [replace(observations.repeated[0], windows={0: 4, 2: 4, 3: 6}), observations.repeated[1]]
    words = windows_note(Observations(tuple(seen), observations.control))
    assert words == (
        "layers 0 and 2 attend to the last 4 tokens only; layer 3 attends to the last 6 tokens only"
    )  # fmt: skip


def test_fewer_than_three_periods_are_said(periods: tuple[PeriodInputs, ...]) -> None:
    assert controls_note((*periods, periods[0])) == ""
    alone = replace(periods[1], other_offsets=())
    assert controls_note([alone]) == (
        "1 of 3 periods was used (7); at period 7 the only control is the sequence without repeats"
    )


def test_even_attention_by_hand(periods: tuple[PeriodInputs, ...]) -> None:
    """BOS + r + r with 9 tokens of r: a query i sees i + 1 tokens."""
    found = even_attention(periods[0])
    assert found["matching"] == pytest.approx(np.mean([1 / (i + 1) for i in range(10, 19)]))
    assert found["previous"] == pytest.approx(np.mean([1 / (i + 1) for i in range(1, 19)]))
