"""What is noted as text streams by: sums over pieces, and a sample of tokens whose memory has a bound."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.data.corpus import windows
from mesascope.probes.statistics.bootstrap import bootstrap_means
from mesascope.probes.token_norms import accumulator as norm_notes
from mesascope.probes.token_norms.accumulator import Notes
from mesascope.probes.token_norms.means import length_measure, rank_measures
from mesascope.probes.token_norms.text import Reading

V, T = 50, 8


def reading(lengths: tuple[int, ...] = (20, 7, 33, 15), seed: int = 0) -> Reading:
    rng = np.random.default_rng(seed)
    documents = [rng.integers(1, V, n) for n in lengths]
    return Reading(windows(documents, T, V, bos=0), np.log(np.bincount(np.concatenate(documents), minlength=V) + 1.0))


def noted(of: Reading, batch_size: int, columns: int = 2) -> tuple[Notes, list[tuple[int, np.ndarray]]]:
    """Notes of a quantity that tells token and position, and the same window by window."""
    notes, windows_seen = Notes(of, columns, 0), []
    for tokens in notes.batches(batch_size):
        x = tokens.double() + torch.arange(tokens.shape[1]) / 100
        notes.mean("norm_x", torch.stack([x, x.square()], dim=-1))
        notes.token("x", x)
        notes.each("total", x.sum(dim=1))
        notes.mean("later", x[:, 1:], later=True)
        windows_seen += zip(notes.windows.document.tolist(), x.numpy(), strict=True)
    return notes, windows_seen


def test_means_and_their_resamples_are_of_documents_tokens() -> None:
    notes, seen = noted(reading(), 3)
    sums, counts = np.zeros((2, 4, 2))
    for document, x in seen:
        sums[document] += x[0], x[1:].sum()
        counts[document] += 1, len(x) - 1
    means = notes.means("norm_x").apply(lambda x: x[:, 0, :, 0])
    np.testing.assert_allclose(means.values, sums.sum(axis=0) / counts.sum(axis=0))
    np.testing.assert_allclose(means.resampled, bootstrap_means(sums, 0) / bootstrap_means(counts, 0))
    assert means.n == 4
    totals = notes.means("total").values[0]
    assert totals[0] == pytest.approx(np.mean([x.sum() for _, x in seen]))
    assert np.isnan(totals[1])
    later = notes.means("later").values[0]
    assert np.isnan(later[0])
    assert later[1] == pytest.approx(means.values[1])


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batches_of_any_size_note_the_same(batch_size: int) -> None:
    notes, _ = noted(reading(), batch_size)
    order = np.lexsort((notes.sample.column("x")[:, 0], notes.sample.unit))
    like, _ = noted(reading(), 4)
    other = np.lexsort((like.sample.column("x")[:, 0], like.sample.unit))
    np.testing.assert_array_equal(notes.sample.column("x")[order], like.sample.column("x")[other])
    np.testing.assert_allclose(notes.means("norm_x").resampled, like.means("norm_x").resampled)
    assert notes.n_batches(batch_size) == sum(1 for _ in notes.reading.corpus.batches(batch_size))
    assert notes.longest == T


def test_every_token_is_in_the_sample_where_all_fit() -> None:
    notes, seen = noted(reading(), 3)
    sample = notes.sample
    assert sample.whole
    assert len(sample.token) == sum(len(x) for _, x in seen)
    np.testing.assert_allclose(sample.column("x")[:, 0], sample.token + sample.position / 100)
    assert set(sample.position[sample.at("first")]) == {0}
    assert sample.position[sample.at("later")].min() == 1
    assert len(sample.at("all")) == len(sample.token)
    for document in range(4):
        here = np.sort(np.concatenate([x for d, x in seen if d == document]))
        np.testing.assert_allclose(np.sort(sample.column("x")[sample.unit == document, 0]), here)


def test_a_long_text_leaves_a_sample_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(norm_notes, "VALUES", 800)
    notes, seen = noted(reading((5_000, 3_000, 4_000)), 7)
    sample = notes.sample
    assert not sample.whole
    assert [len(sample.at(place)) for place in ("first", "later")] == [50, 400]
    assert sample.of == sum(len(x) for _, x in seen)
    np.testing.assert_allclose(sample.column("x")[:, 0], sample.token + sample.position / 100)  # each in its row
    whole = np.concatenate([x[1:] for _, x in seen])
    measure = length_measure(notes, "x", layered=False)
    assert "percentiles of 450 tokens drawn from 13,716" in measure.message
    np.testing.assert_allclose(measure.values[1, 0], whole.mean())  # means stay exact
    np.testing.assert_allclose(measure.values[1, 2:], np.percentile(whole, (5, 50, 95)), atol=3)
    shares = np.bincount(sample.unit, minlength=3) / len(sample.unit)
    np.testing.assert_allclose(shares, [5 / 12, 3 / 12, 4 / 12], atol=0.08)  # drawn from everywhere


def test_samples_are_the_same_for_the_same_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(norm_notes, "VALUES", 200)
    one, two = (noted(reading((900, 900)), 7)[0].sample for _ in range(2))
    np.testing.assert_array_equal(one.column("x"), two.column("x"))


def test_a_relation_planted_in_the_tokens_is_found_within_its_interval() -> None:
    notes, _ = noted(reading((70,) * 30), 5)
    sample = notes.sample
    noise = np.random.default_rng(1).normal(size=len(sample.token))
    planted = {"position": sample.position + 0.0, "log_frequency": noise, "token": -sample.token - 20 * noise}
    found = rank_measures(notes, ("x",), planted)["spearman_x"]
    token = found.labels("covariate").index("token")
    low, high = (bound[0, token, 1] for bound in found.interval)
    assert -0.8 < low < found.values[0, token, 1] < high < -0.4
    at = found.labels("covariate").index("log_frequency")
    assert found.interval[0][0, at, 1] < 0 < found.interval[1][0, at, 1]
    given = rank_measures(notes, ("x",), planted)["partial_spearman_x"].values[0, token, 1]
    assert given < found.values[0, token, 1] - 0.1  # the noise is known, and taken out
