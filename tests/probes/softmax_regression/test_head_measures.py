"""The shifts of a model's heads as measures: planted layers, windows, nulls, and what must not matter."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope import models
from mesascope.data.recipe import named_seed
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer, NotApplicable, Source
from mesascope.models.subject import AttentionScores
from mesascope.probes.findings import Findings
from mesascope.probes.head_sequences import read_sequences
from mesascope.probes.softmax_regression.head_closeness import COSINE, UNSCALED, Closeness, closeness_called
from mesascope.probes.softmax_regression.head_measures import (
    ALL,
    AVERAGED,
    DRAWS,
    KEYS,
    LATER,
    RANDOM,
    UNITS,
    UNTRAINED,
    WORDS,
    ReadShifts,
    ShiftReader,
    head_findings,
    random_directions,
    read_shifts,
    shift_measures,
)
from mesascope.probes.softmax_regression.head_settings import HeadSettings
from mesascope.probes.softmax_regression.head_shifts import MovedHeads, head_shifts, random_shifts
from mesascope.probes.statistics.sample_measures import PerTask, task_measures

SHARED = Path(os.environ.get("MESASCOPE_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
STORIES = SHARED / "stories260k"
HOW = HeadSettings(n_sequences=5, queries=4, untrained=2)


def model(seed: int = 0, **changed: torch.Tensor | float) -> AttentionOnlyModel:
    """Random weights, of which some are multiplied."""
    sizes = {"d_vocab": 13, "n_ctx": 12, "d_model": 8, "n_layers": 3, "n_heads": 2, "d_head": 4}
    config, rng = AttentionOnlyConfig(**sizes), torch.Generator().manual_seed(seed)
    drawn = {name: 0.7 * torch.randn(shape, generator=rng).double() for name, shape in config.shapes.items()}
    parameters = {name: value * changed.get(name, 1) for name, value in drawn.items()}
    return AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), Source("tiny", layout="in-memory"))


def measured(subject: AttentionOnlyModel, how: HeadSettings = HOW, seed: int = 0, batch_size: int = 8) -> Findings:
    return head_findings(subject, how, seed, batch_size)


@pytest.fixture(scope="module")
def findings() -> Findings:
    return measured(model())


def test_measures_have_axes_units_intervals_and_nulls(findings: Findings) -> None:
    assert set(findings.measures) == set(UNITS)
    assert set(UNITS) == {*WORDS, *(f"{of}_{name}" for of in ("layer", "mean") for name in AVERAGED)}
    for name in WORDS:
        measure = findings.measures[name]
        assert measure.axes == ("keys", "layer", "head")
        assert measure.labels("keys") == (ALL, LATER)
        assert (measure.unit, measure.replicate, measure.n) == (WORDS[name][0], "sequence", 5)
        for keys in KEYS:
            own = findings.arrays[f"{name}_{keys}"]
            np.testing.assert_array_equal(measure.sel(keys=keys).values, own.mean(axis=0))
        low, high = measure.interval
        assert ((low <= measure.values + 1e-12) & (measure.values <= high + 1e-12)).all()
        assert measure.nulls[UNTRAINED].shape == (2, 2, 3, 2)
        assert (RANDOM in measure.nulls) == name.startswith("sh")  # shifts and shares
        if name.startswith("sh"):
            assert measure.nulls[RANDOM].shape == (DRAWS, 2, 3, 2)
            assert measure.nulls[RANDOM].std(axis=0).min() > 0
    for name in ("shift_x", "premise_x"):
        assert (
            "x' is the query that the head would form of the stream after its layer's own"
            in findings.measures[name].message
        )
    for of in "Ax":
        assert (findings.measures[f"shift_ratio_{of}"].values < findings.measures[f"bound_{of}"].values).all()


@pytest.mark.parametrize("name", AVERAGED)
def test_means_over_heads_have_intervals_and_nulls_of_their_own(findings: Findings, name: str) -> None:
    """They are the means of heads, and narrower than the mean of their intervals."""
    for of, over in {"layer": (-1,), "mean": (-2, -1)}.items():
        whole, heads = findings.measures[f"{of}_{name}"], findings.measures[name]
        assert whole.axes == ("keys", "layer")[: len(heads.axes) - len(over)]
        assert whole.message.startswith("mean over ")
        np.testing.assert_allclose(whole.values, heads.values.mean(axis=over))
        for null, samples in heads.nulls.items():
            np.testing.assert_allclose(whole.nulls[null], samples.mean(axis=over))
        for place, keys in enumerate(KEYS):
            own = findings.arrays[f"{of}_{name}_{keys}"]
            np.testing.assert_allclose(own, findings.arrays[f"{name}_{keys}"].mean(axis=over))
            resampled = task_measures({"own": PerTask(own, "1", whole.axes[1:], no_nulls="none")}, seed=0)["own"]
            np.testing.assert_allclose(np.array(whole.interval)[:, place], resampled.interval)


def test_a_head_without_a_number_is_in_no_mean() -> None:
    """Head 0 of layer 1 has none in one sequence: it is left out in all, and in the nulls."""
    rng = np.random.default_rng(0)
    own = {(name, keys): rng.normal(size=(4, 2, 3)) for name in WORDS for keys in KEYS}
    random = {at: rng.normal(size=(4, 2, 3, DRAWS)) for at in own}
    own["shift_A", ALL][2, 1, 0] = np.nan
    own["shift_x", ALL][:, 1] = np.nan
    measures, arrays = shift_measures(ReadShifts(own, random), [own], seed=0)
    found = measures["layer_shift_A"].sel(keys=ALL)
    np.testing.assert_allclose(found.values, [own["shift_A", ALL][:, 0].mean(), own["shift_A", ALL][:, 1, 1:].mean()])
    np.testing.assert_allclose(found.nulls[RANDOM][:, 1], random["shift_A", ALL][:, 1, 1:].mean(axis=(0, 1)))
    np.testing.assert_allclose(found.nulls[UNTRAINED][0], found.values)
    assert "that have a number in every sequence" in found.message
    of_layers, of_all = (measures[f"{of}_shift_x"].sel(keys=ALL) for of in ("layer", "mean"))
    assert np.isnan(of_layers.values).tolist() == [False, True]
    assert "NaN where there is a sequence" in of_layers.message
    assert of_all.estimate == pytest.approx(own["shift_x", ALL][:, 0].mean())
    assert np.isfinite(arrays["mean_shift_x_all"]).all()


def test_a_model_whose_layers_write_nothing_has_reasons_in_place_of_ratios() -> None:
    silent = torch.zeros(3, 1, 1, 1)
    found = measured(model(W_O=silent, b_O=silent[..., 0, 0]), HeadSettings(n_sequences=3, untrained=0)).measures
    for name in ("shift_cosine", "layer_shift_cosine", "mean_share_of_bound_A"):
        assert not found[name].has_number
        assert found[name].sel(keys=ALL).status == "undefined"
        assert "or its layer's write changes nothing" in found[name].message
    assert found["mean_shift_A"].values.tolist() == [0, 0]


def test_a_layer_that_writes_nothing_shifts_nothing() -> None:
    silent = torch.ones(3, 1, 1, 1)
    silent[1] = 0
    found = measured(model(W_O=silent, b_O=silent[..., 0, 0])).measures
    for name, measure in ((name, found[name]) for name in WORDS):
        of_layer, others = measure.values[:, 1], measure.values[:, [0, 2]]
        assert np.isfinite(others).all()
        if name in ("shift_A", "shift_x"):
            assert (of_layer == 0).all()
            assert (others > 0.01).all()
            assert (measure.nulls[RANDOM][:, :, 1] == 0).all()  # a move of length 0, whatever its direction
        elif name.startswith("premise"):
            assert (of_layer == 1).all()
        elif name.startswith("bound"):
            assert (of_layer > 0).all()
        else:
            assert np.isnan(of_layer).all()
            assert np.isnan(measure.interval[0][:, 1]).all()
            assert "NaN where there is a sequence at none of whose queries it has a number" in measure.message
            assert "or its layer's write changes nothing" in measure.message
        assert ("NaN" in measure.message) == name.startswith(("shift_r", "shift_c", "share"))
        assert "diverges" not in measure.message


def scores(seed: int, window: int | None = None, pos: int = 6) -> AttentionScores:
    """Four query heads, which share two key heads."""
    rng = torch.Generator().manual_seed(seed)
    q, k = (torch.randn(2, heads, pos, 3, generator=rng) for heads in (4, 2))
    return AttentionScores.of(q, k, 0.7, window=window)


@pytest.mark.parametrize(
    ("window", "first"), [(None, {ALL: 0, LATER: 1}), (3, {ALL: 3, LATER: 3}), (6, {ALL: 0, LATER: 1})]
)
def test_a_query_weighs_the_keys_in_its_window(window: int | None, first: dict[str, int]) -> None:
    directions = random_directions(0, 0, 2, 3)
    reader = ShiftReader((5,), directions)
    before, after = scores(0, window), scores(1, window)
    reader.take(0, before, after)
    for keys, begin in first.items():
        k, k_after = (each.k[:, :, begin:].double() for each in (before, after))
        x, x_after = (0.7 * each.q[:, :, 5].double() for each in (before, after))
        heads = MovedHeads(k, k_after, x, x_after)
        for name, expected in head_shifts(heads).items():
            torch.testing.assert_close(reader.own[name, keys][0], expected, equal_nan=True)
        for name, expected in random_shifts(heads, directions).items():
            torch.testing.assert_close(reader.random[name, keys][0], expected)


def test_queries_with_one_key_are_left_out() -> None:
    """The query at 1 attends to positions 0 and 1: without position 0 there is nothing to weigh."""
    both, later, narrow = (ShiftReader(queries, None) for queries in ((1, 5), (5,), (1, 5)))
    for reader in (both, later):
        reader.take(0, scores(0), scores(1))
    narrow.take(0, scores(0, window=1), scores(1, window=1))
    for name in WORDS:
        torch.testing.assert_close(both.own[name, LATER][0], later.own[name, LATER][0])
        assert not torch.allclose(both.own[name, ALL][0], later.own[name, ALL][0], rtol=1e-3) or "premise" in name
        assert narrow.own[name, ALL][0].isnan().all()


def test_directions_are_one_for_each_sequence_whatever_the_batch() -> None:
    whole = random_directions(3, 4, 2, 6)
    assert whole.shape == (2, DRAWS, 6)
    torch.testing.assert_close(whole.norm(dim=-1), torch.ones(2, DRAWS, dtype=torch.float64))
    assert torch.equal(whole[1:], random_directions(3, 5, 1, 6))
    assert not torch.equal(whole[0], whole[1])
    assert not torch.equal(whole, random_directions(4, 4, 2, 6))


def test_directions_are_alike_in_all_directions() -> None:
    drawn = random_directions(0, 0, 500, 3).reshape(-1, 3)
    assert drawn.mean(dim=0).abs().max() < 0.03
    torch.testing.assert_close(drawn.T @ drawn / len(drawn), torch.eye(3, dtype=torch.float64) / 3, atol=0.02, rtol=0)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_batch_size_does_not_matter(findings: Findings, batch_size: int) -> None:
    found = measured(model(), batch_size=batch_size)
    for name, measure in findings.measures.items():
        np.testing.assert_allclose(found.measures[name].values, measure.values, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found.measures[name].interval, measure.interval, rtol=1e-9, atol=1e-12)
        for null, samples in measure.nulls.items():
            np.testing.assert_allclose(found.measures[name].nulls[null], samples, rtol=1e-9, atol=1e-12)


def test_sequences_of_several_lengths_are_as_if_read_alone(tmp_path: Path) -> None:
    documents = [list(range(1, 13)), [5, 4, 3, 2, 1, 6, 7], [7, 8, 9, 10, 11, 12, 1, 2, 3, 4, 5, 6], [1, 2]]
    path = tmp_path / "ids.jsonl"
    path.write_text("\n".join(f'{{"tokens": {ids}}}' for ids in documents))
    how = HeadSettings(tokens=str(path), queries=3, untrained=0)
    found = measured(model(), how).arrays
    for number, document in enumerate(
        [documents[0], documents[2], documents[1]]
    ):  # the longest first; two tokens: too few
        path.write_text(f'{{"tokens": {document}}}')
        alone = measured(model(), how).arrays
        for name in found:
            np.testing.assert_allclose(found[name][number], alone[name][0], rtol=1e-9)
    assert all(len(values) == 3 for values in found.values())


def test_the_same_seed_gives_the_same_numbers_and_another_one_others(findings: Findings) -> None:
    again, other = measured(model()), measured(model(), seed=1)
    for name, measure in findings.measures.items():
        assert np.array_equal(again.measures[name].values, measure.values)
        assert all(np.array_equal(again.measures[name].nulls[null], measure.nulls[null]) for null in measure.nulls)
    assert not np.allclose(other.arrays["shift_A_all"], findings.arrays["shift_A_all"])
    nulls = findings.measures["bound_x"].nulls[UNTRAINED]
    assert not np.array_equal(nulls[0], nulls[1])


def test_relabelled_heads_and_rescaled_keys_change_nothing(findings: Findings) -> None:
    subject = model()
    parameters = {name: value.detach().clone() for name, value in subject.module.named_parameters()}
    for name in ("W_Q", "b_Q", "W_K", "b_K", "W_V", "b_V", "W_O"):
        parameters[name] = parameters[name].flip(1) * {"Q": 4.0, "K": 0.25}.get(name[-1], 1.0)
    changed = AttentionOnlyModel(AttentionOnlyTransformer(subject.config, parameters), subject.source)
    found = measured(changed).arrays
    for name, factor in {"shift_A": 1, "shift_cosine": 1, "premise_x": 1, "shift_ratio_A": 4, "bound_x": 0.25}.items():
        np.testing.assert_allclose(found[f"{name}_all"], factor * findings.arrays[f"{name}_all"][..., ::-1], rtol=1e-6)


def test_untrained_models_read_the_same_sequences(findings: Findings) -> None:
    for number in range(2):
        untrained = model().untrained(named_seed(0, "untrained", number))
        found = read_shifts(untrained, read_sequences(model(), HOW, 0), HOW.queries, 0, 8, with_random=False)
        assert not isinstance(found, NotApplicable)
        assert not found.random
        for name in WORDS:
            expected = [found.own[name, keys].mean(axis=0) for keys in KEYS]
            np.testing.assert_allclose(findings.measures[name].nulls[UNTRAINED][number], expected, rtol=1e-6)


def test_without_untrained_models_the_random_directions_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    none = measured(model(), HeadSettings(n_sequences=1, untrained=0)).measures
    subject = model()
    monkeypatch.setattr(subject, "untrained", lambda seed: NotApplicable("nobody knows how"))
    for found in (none, measured(subject, HeadSettings(n_sequences=1, untrained=2)).measures):
        assert set(found["shift_A"].nulls) == {RANDOM}
        assert not found["bound_A"].nulls
        assert found["bound_A"].no_nulls == "no untrained model was read"
        assert found["bound_A"].message.endswith("one sequence has no interval")


def test_the_progress_rises_to_the_end() -> None:
    told: list[tuple[str, float]] = []
    head_findings(model(), HOW, 0, 2, lambda stage, fraction: told.append((stage, fraction)))
    fractions = [fraction for _, fraction in told]
    assert fractions == sorted(fractions)
    assert told[-1] == ("done", 1.0)
    assert {stage for stage, _ in told[:-1]} == {"reading tiny", "reading untrained tiny"}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_weights_bring_shifts_together_by_scale_alone(seed: int) -> None:
    """The norm before keys and query shrinks both where the stream grows; nothing else makes the shifts alike."""
    config = AttentionOnlyConfig(d_vocab=30, n_ctx=24, d_model=32, n_layers=3, n_heads=4, d_head=8)
    rng = torch.Generator().manual_seed(seed)
    drawn = {name: 0.3 * torch.randn(shape, generator=rng).double() for name, shape in config.shapes.items()}
    drawn |= {name: torch.ones_like(value) for name, value in drawn.items() if name.endswith("_scale")}
    subject = AttentionOnlyModel(AttentionOnlyTransformer(config, drawn), Source("random", layout="in-memory"))
    found = head_findings(subject, HeadSettings(n_sequences=16, untrained=0), seed, 16).measures
    assert closeness_called(found) == "closer by scale"
    whole, unscaled = (Closeness.of(found, name) for name in (COSINE, UNSCALED))
    assert whole is not None
    assert unscaled is not None
    assert whole.cosine.low > 2 * abs(unscaled.cosine.value)


@pytest.mark.skipif(not STORIES.is_dir(), reason="the shared data are not here")
def test_a_trained_model_beside_untrained_ones() -> None:
    """Trained heads look somewhere: their keys and queries are long, and what a layer writes shifts their attention."""
    found: dict[str, Any] = dict(head_findings(models.load(STORIES), HeadSettings(n_sequences=4), 0, 4).measures)
    for measure in (found[name] for name in WORDS):
        assert np.isfinite(measure.values).all()
        assert np.isfinite(measure.nulls[UNTRAINED]).all()
        assert measure.values.shape == (2, 5, 8)
    for name in ("shift_A", "shift_x", "shift_ratio_A", "shift_ratio_x", "bound_A", "bound_x"):
        by_layer = found[name].values.mean(axis=-1)
        assert (by_layer > found[name].nulls[UNTRAINED].mean(axis=-1).max(axis=0)).all(), name
    assert (found["premise_A"].values < found["premise_A"].nulls[UNTRAINED].mean() + 0.05).all()
    for of in "Ax":  # the premises of the theorems do not hold, the tight bound does
        assert (found[f"shift_ratio_{of}"].values < 0.1 * found[f"bound_{of}"].values).all()
