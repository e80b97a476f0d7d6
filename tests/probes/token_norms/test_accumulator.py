"""What is noted as text streams by: means over pieces of it along named axes, and a sample of tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.data.corpus import windows
from mesascope.probes.statistics.bootstrap import bootstrap_means
from mesascope.probes.token_norms import sample
from mesascope.probes.token_norms.accumulator import Accumulator, combined
from mesascope.probes.token_norms.text import Text

V, T = 50, 8


def text(lengths: tuple[int, ...] = (20, 7, 33, 15), seed: int = 0) -> Text:
    rng = np.random.default_rng(seed)
    documents = [rng.integers(1, V, n) for n in lengths]
    return Text(windows(documents, T, V, bos=0), np.log(np.bincount(np.concatenate(documents), minlength=V) + 1.0))


def read(of: Text, batch_size: int, n_columns: int = 2) -> tuple[Accumulator, list[tuple[int, np.ndarray]]]:
    """What is noted of a quantity that tells token and position, and the same window by window."""
    noted, windows_seen = Accumulator(of, n_columns, 0), []
    for tokens in noted.batches(batch_size):
        x = tokens.double() + torch.arange(tokens.shape[1]) / 100
        noted.add_mean("x", torch.stack([x, x.square()], dim=-1), 0, "power")
        noted.add_tokens("x", x)
        noted.add_window_mean("total", x.sum(dim=1))
        noted.add_later_mean("later", x[:, 1:])
        windows_seen += zip(noted.windows.document.tolist(), x.numpy(), strict=True)
    return noted, windows_seen


def test_means_and_their_resamples_are_of_documents_tokens() -> None:
    noted, seen = read(text(), 3)
    sums, counts = np.zeros((2, 4, 2))
    for document, x in seen:
        sums[document] += x[0], x[1:].sum()
        counts[document] += 1, len(x) - 1
    means = noted.means("x").at(layer=0, power=0)
    np.testing.assert_allclose(means.values, sums.sum(axis=0) / counts.sum(axis=0))
    np.testing.assert_allclose(means.resampled, bootstrap_means(sums, 0) / bootstrap_means(counts, 0))
    assert (means.n_pieces, means.axes) == (4, ("position",))
    totals = noted.means("total")
    assert totals.axes == ("layer",)
    assert totals.values[0] == pytest.approx(np.mean([x.sum() for _, x in seen]))
    first, later = noted.means("later").at(layer=0).values
    assert np.isnan(first)
    assert later == pytest.approx(means.values[1])


def test_axes_are_selected_and_ordered_by_their_names() -> None:
    means = read(text(), 3)[0].means("x")
    assert means.axes == ("layer", "position", "power")
    turned = means.ordered(("power", "layer", "position"))
    np.testing.assert_array_equal(turned.values, np.moveaxis(means.values, 2, 0))
    np.testing.assert_array_equal(turned.resampled, np.moveaxis(means.resampled, 3, 1))
    later = turned.at(position=1)
    np.testing.assert_array_equal(later.values, means.values[:, 1].T)
    assert later.axes == ("power", "layer")
    assert turned.at(layer=slice(0, 1)).axes == turned.axes


def test_the_same_function_of_means_and_of_each_resample() -> None:
    means = read(text(), 3)[0].means("x").at(layer=0, power=0)
    first, later = means.at(position=0), means.at(position=1)
    ratio = combined(np.divide, first, later)
    assert ratio.values == first.values / later.values
    np.testing.assert_array_equal(ratio.resampled, first.resampled / later.resampled)
    np.testing.assert_allclose(means.averaged().resampled, means.resampled.mean(axis=1))


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batches_of_any_size_note_the_same(batch_size: int) -> None:
    noted, _ = read(text(), batch_size)
    order = np.lexsort((noted.sample.column("x")[:, 0], noted.sample.piece))
    like, _ = read(text(), 4)
    other = np.lexsort((like.sample.column("x")[:, 0], like.sample.piece))
    np.testing.assert_array_equal(noted.sample.column("x")[order], like.sample.column("x")[other])
    np.testing.assert_allclose(noted.means("x").resampled, like.means("x").resampled)
    assert noted.text.n_batches(batch_size) == sum(1 for _ in noted.text.corpus.batches(batch_size))
    assert noted.text.longest_window == T


def test_every_token_is_in_the_sample_where_all_fit() -> None:
    noted, seen = read(text(), 3)
    found = noted.sample
    assert found.is_complete
    assert found.described == "of all tokens"
    assert len(found.token) == sum(len(x) for _, x in seen)
    np.testing.assert_allclose(found.column("x")[:, 0], found.token + found.position / 100)
    assert set(found.position[found.rows_at("first")]) == {0}
    assert found.position[found.rows_at("later")].min() == 1
    assert len(found.rows_at("all")) == len(found.token)
    for document in range(4):
        here = np.sort(np.concatenate([x for d, x in seen if d == document]))
        np.testing.assert_allclose(np.sort(found.column("x")[found.piece == document, 0]), here)


def test_a_long_text_leaves_a_sample_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "VALUES", 800)
    noted, seen = read(text((5_000, 3_000, 4_000)), 7)
    found = noted.sample
    assert not found.is_complete
    assert found.described == "of 450 tokens drawn from 13,716"
    assert [len(found.rows_at(place)) for place in ("first", "later")] == [50, 400]
    assert found.n_tokens == sum(len(x) for _, x in seen)
    np.testing.assert_allclose(found.column("x")[:, 0], found.token + found.position / 100)  # each in its row
    whole = np.concatenate([x[1:] for _, x in seen])
    np.testing.assert_allclose(noted.means("x").at(layer=0, power=0).values[1], whole.mean())  # means stay exact
    later = found.column("x")[found.rows_at("later"), 0]
    np.testing.assert_allclose(np.percentile(later, (5, 50, 95)), np.percentile(whole, (5, 50, 95)), atol=3)
    shares = np.bincount(found.piece, minlength=3) / len(found.piece)
    np.testing.assert_allclose(shares, [5 / 12, 3 / 12, 4 / 12], atol=0.08)  # drawn from everywhere


def test_samples_are_the_same_for_the_same_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "VALUES", 200)
    one, two = (read(text((900, 900)), 7)[0].sample for _ in range(2))
    np.testing.assert_array_equal(one.column("x"), two.column("x"))
