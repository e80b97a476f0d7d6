"""Controls: the larger one is taken off, sequence by sequence, and every number keeps its axes and nulls."""

from __future__ import annotations

import numpy as np
import pytest
from mesascope.models import LanguageModelShape
from mesascope.probes.induction_heads.inputs import PeriodInputs, period_inputs, period_laws
from mesascope.probes.induction_heads.nulls import EVEN, NO_REPEATS, PERMUTED
from mesascope.probes.induction_heads.passes import Seen, Sides, even_attention
from mesascope.probes.induction_heads.score_measures import (
    Inputs,
    duplicate_excess,
    excess_over_controls,
    head_measures,
    offset_measures,
)
from mesascope.probes.induction_heads.watchers import kept_offsets

N, HEADS = 6, (2, 3)


@pytest.fixture(scope="module")
def periods() -> list[PeriodInputs]:
    sizes = {"n_layers": 2, "n_heads": 3, "n_kv_heads": 3, "d_model": 8, "d_head": 2, "d_vocab": 99, "n_ctx": 64}
    shape = LanguageModelShape(**sizes, causal=True, positions="learned")
    return period_inputs(period_laws(shape, 0, (9, 7), 2), N, seed=0)


@pytest.fixture
def sides(periods: list[PeriodInputs], rng: np.random.Generator) -> Sides:
    def seen(one: PeriodInputs) -> Seen:
        names = ("matching", "duplicate", "previous", "current", "first", "attribution")
        heads = {name: rng.random((N, *HEADS)) for name in names}
        heads["others"] = rng.random((N, *HEADS, len(one.others)))
        heads["offsets"] = rng.random((N, *HEADS, len(kept_offsets(one.period))))
        return Seen(heads, {})

    return Sides(tuple(map(seen, periods)), tuple(map(seen, periods)))


def test_the_larger_control_is_the_same_for_every_sequence_of_a_head(sides: Sides) -> None:
    found = excess_over_controls(sides, 0)
    repeated, control = sides.repeated[0].heads, sides.control[0].heads
    for layer, head in np.ndindex(HEADS):
        controls = [control["matching"][:, layer, head], *repeated["others"][:, layer, head].T]
        larger = max(controls, key=lambda samples: samples.mean())
        assert np.allclose(found[:, layer, head], repeated["matching"][:, layer, head] - larger)


def test_without_other_periods_the_sequence_without_repeats_is_the_control(sides: Sides) -> None:
    alone = {name: array for name, array in sides.repeated[0].heads.items() if name != "others"}
    found = excess_over_controls(Sides((Seen(alone, {}),), sides.control[:1]), 0)
    assert np.allclose(found, alone["matching"] - sides.control[0].heads["matching"])


def test_duplicates_are_read_beside_the_same_offset(sides: Sides) -> None:
    expected = sides.repeated[1].heads["duplicate"] - sides.control[1].heads["duplicate"]
    assert np.array_equal(duplicate_excess(sides, 1), expected)


def test_every_score_is_a_mean_over_its_own_sequences(sides: Sides, periods: list[PeriodInputs]) -> None:
    """Content on repeats, positions where nothing repeats; all periods pooled."""
    found = head_measures(sides, Inputs(periods, [sides, sides, sides], 0.05, seed=0, note="say this"))
    for name, key in {"prefix_matching_score": "matching", "duplicate_token_score": "duplicate"}.items():
        values = np.mean([seen.heads[key] for seen in sides.repeated], axis=(0, 1))
        assert np.allclose(found[name].values, values)
        assert found[name].nulls[NO_REPEATS].shape == (2, *HEADS)
        assert np.allclose(found[name].nulls[PERMUTED], values)
    for name in ("previous", "current", "first"):
        values = np.mean([seen.heads[name] for seen in sides.control], axis=(0, 1))
        assert np.allclose(found[f"{name}_token_score"].values, values)
    assert found["prefix_matching_score"].n == 2 * N
    assert found["prefix_matching_score"].replicate == "sequence"
    assert found["prefix_matching_score"].message == "say this"
    assert "only 9 and 7 fit" in found["excess"].message
    for place in range(2):
        excess = excess_over_controls(sides, place).mean(axis=0)
        assert np.allclose(found["excess_by_period"].values[place], excess)
        low, high = found["excess_by_period"].interval
        assert (low[place] <= excess).all()
        assert (excess <= high[place]).all()


def test_a_fixed_offset_is_the_largest_from_two_on_without_repeats(sides: Sides, periods: list[PeriodInputs]) -> None:
    offsets = sides.control[0].heads["offsets"]
    offsets[..., :2] = 1.0  # the current and the previous token have scores of their own
    offsets[:, 1, 2, 4] = 0.99
    found = head_measures(sides, Inputs(periods, [], 0.05, seed=0))
    assert found["fixed_offset"].values[1, 2] == 4
    assert found["fixed_offset_score"].values[1, 2] == pytest.approx(0.99)
    assert (found["fixed_offset"].values >= 2).all()
    even = found["fixed_offset_score"].nulls[EVEN][0, 1, 2]
    assert even == pytest.approx(np.mean([1 / (i + 1) for i in range(10, 19)]))


def test_without_weights_to_permute_the_measures_say_so(sides: Sides, periods: list[PeriodInputs]) -> None:
    found = head_measures(sides, Inputs(periods, [], 0.05, seed=0))
    assert not found["excess"].nulls
    assert "no weights that could be permuted" in found["excess"].no_nulls


def test_attention_by_offset_has_a_measure_a_period(sides: Sides, periods: list[PeriodInputs]) -> None:
    found = offset_measures(sides, Inputs(periods, [], 0.05, seed=0))
    assert list(found) == ["attention_by_offset_9", "attention_by_offset_7"]
    one = found["attention_by_offset_7"]
    assert one.labels("offset") == tuple(range(8))
    assert np.allclose(one.values, sides.repeated[1].heads["offsets"].mean(axis=0))
    assert np.allclose(one.nulls[NO_REPEATS][0], sides.control[1].heads["offsets"].mean(axis=0))


def test_even_attention_by_hand(periods: list[PeriodInputs]) -> None:
    """BOS + r + r with 9 tokens of r: a query i sees i + 1 tokens."""
    found = even_attention(periods[0])
    assert found["matching"] == pytest.approx(np.mean([1 / (i + 1) for i in range(10, 19)]))
    assert found["previous"] == pytest.approx(np.mean([1 / (i + 1) for i in range(1, 19)]))
