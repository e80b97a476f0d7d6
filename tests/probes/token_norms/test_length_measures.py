"""Rows of the vocabulary and their frequency, beside NumPy; what is not there to be predicted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from mesascope.data.corpus import windows
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer, NotApplicable, Source
from mesascope.probes.token_norms import length_measures as norm_sites
from mesascope.probes.token_norms.length_measures import no_prediction, vocabulary_measures, whitened_lengths
from mesascope.probes.token_norms.text import Reading, Truth
from scipy import stats

V, D = 23, 5


@pytest.fixture
def subject() -> AttentionOnlyModel:
    config = AttentionOnlyConfig(d_vocab=V, n_ctx=9, d_model=D, n_layers=1, n_heads=1, d_head=4)
    rng = torch.Generator().manual_seed(0)
    parameters = {n: torch.randn(shape, generator=rng, dtype=torch.float64) for n, shape in config.shapes.items()}
    return AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), Source("tiny", layout="in-memory"))


@pytest.fixture
def reading(rng: np.random.Generator) -> Reading:
    """Tokens below 20, some often."""
    document = np.minimum(rng.geometric(0.2, 300) - 1, 19)
    with np.errstate(divide="ignore"):
        return Reading(windows([document], 9, V), np.log(np.bincount(document, minlength=V).astype(float)))


@pytest.mark.parametrize("rows", [2**13, 4])
def test_rows_of_the_vocabulary(
    subject: AttentionOnlyModel, reading: Reading, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(norm_sites, "ROWS", rows)
    W_E, W_U = subject.embedding().numpy(), subject.unembedding().numpy().T
    measures = vocabulary_measures(subject, reading)
    norms = [np.linalg.norm(W, axis=1) for W in (W_E, W_U)]
    for name, slow in zip(("norm_embedding_rows", "norm_unembedding_rows"), norms, strict=True):
        summary = [slow.mean(), np.sqrt((slow**2).mean()), *np.percentile(slow, (5, 50, 95))]
        np.testing.assert_allclose(measures[name].values, summary, rtol=1e-10)
    counts = np.exp(reading.log_frequency)
    p, seen = counts / counts.sum(), counts > 0
    e, u = W_E - p @ W_E, W_U - p @ W_U
    norms.append(np.sqrt([row @ sum(q * np.outer(v, v) for q, v in zip(p, u, strict=True)) @ row for row in e]))
    rho = [stats.spearmanr(norm[seen], counts[seen]).statistic for norm in norms]
    found = measures["spearman_rows_frequency"]
    np.testing.assert_allclose(found.values, rho, rtol=1e-10)
    assert (found.n, found.replicate) == (seen.sum(), "token")
    assert ((found.interval[0] < found.values) & (found.values < found.interval[1])).all()
    order = np.argsort(counts[seen], kind="stable")
    medians = [[np.median(norm[seen][part]) for norm in norms] for part in np.array_split(order, 10)]
    np.testing.assert_allclose(measures["norm_rows_by_decile"].values, medians, rtol=1e-10)


def test_whitening_by_the_identity_leaves_the_distance_to_the_mean() -> None:
    rng = torch.Generator().manual_seed(1)
    rows = torch.randn(400, 3, generator=rng, dtype=torch.float64)
    out, weights = torch.randn(400, 3, generator=rng, dtype=torch.float64), torch.rand(400, generator=rng).double()
    share = (weights / weights.sum())[:, None]
    centred = out - (share * out).sum(dim=0)
    white = centred @ torch.linalg.inv(torch.linalg.cholesky(centred.mT @ (share * centred))).mT
    distance = (rows - (share * rows).sum(dim=0)).norm(dim=-1)
    np.testing.assert_allclose(whitened_lengths(rows, white, weights), distance, rtol=1e-9)


def test_a_planted_relation_is_found_and_none_where_there_is_none(
    subject: AttentionOnlyModel, reading: Reading
) -> None:
    seen = torch.from_numpy(np.isfinite(reading.log_frequency))
    W_E = subject.module.W_E.data
    W_E[seen] *= (9 - torch.from_numpy(reading.log_frequency)[seen])[:, None] / W_E[seen].norm(dim=-1, keepdim=True)
    assert vocabulary_measures(subject, reading)["spearman_rows_frequency"].values[0] < -0.99  # counts may be equal
    W_E[:] = torch.ones(D).double()
    found = vocabulary_measures(subject, reading)["spearman_rows_frequency"]
    assert np.isnan(found.values[0])
    assert "one length" in found.message


def test_the_grammars_own_frequencies_are_used_where_they_are_known(
    subject: AttentionOnlyModel, reading: Reading
) -> None:
    truth = np.linspace(-1, -5, V)
    subject.module.W_E.data *= (-torch.from_numpy(truth) / subject.module.W_E.norm(dim=-1))[:, None]
    found = vocabulary_measures(subject, replace(reading, truth=Truth(truth, ())))["spearman_rows_frequency"]
    assert found.values[0] == pytest.approx(-1)
    assert found.n == V
    assert "the grammar" in found.message


def test_what_is_not_predicted(subject: AttentionOnlyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    assert no_prediction(subject) is None
    monkeypatch.setattr(subject, "unembedding", lambda: NotApplicable("no head"))
    assert no_prediction(subject) == "no head"
    subject.shape = replace(subject.shape, causal=False)
    assert "bidirectional" in str(no_prediction(subject))
