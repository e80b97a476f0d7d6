"""Rows of the vocabulary and their frequency, beside NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from mesascope.data.corpus import windows
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer, NotApplicable, Source
from mesascope.probes.measure import Measure
from mesascope.probes.token_norms import lengths
from mesascope.probes.token_norms.accumulator import ModelPass
from mesascope.probes.token_norms.text import Text, Truth
from mesascope.probes.token_norms.vocabulary_measures import vocabulary_measures
from scipy import stats

V, D = 23, 5


@pytest.fixture
def subject() -> AttentionOnlyModel:
    config = AttentionOnlyConfig(d_vocab=V, n_ctx=9, d_model=D, n_layers=1, n_heads=1, d_head=4)
    rng = torch.Generator().manual_seed(0)
    parameters = {n: torch.randn(shape, generator=rng, dtype=torch.float64) for n, shape in config.shapes.items()}
    return AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), Source("tiny", layout="in-memory"))


@pytest.fixture
def text(rng: np.random.Generator) -> Text:
    """Tokens below 20, some often."""
    document = np.minimum(rng.geometric(0.2, 300) - 1, 19)
    with np.errstate(divide="ignore"):
        return Text(windows([document], 9, V), np.log(np.bincount(document, minlength=V).astype(float)))


def measured(subject: AttentionOnlyModel, text: Text) -> dict[str, Measure]:
    return vocabulary_measures(ModelPass(subject, text, 0, 1))


@pytest.mark.parametrize("rows", [2**13, 4])
def test_rows_of_the_vocabulary(
    subject: AttentionOnlyModel, text: Text, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lengths, "ROWS", rows)
    W_E, W_U = subject.embedding().numpy(), subject.unembedding().numpy().T
    measures = measured(subject, text)
    norms = [np.linalg.norm(W, axis=1) for W in (W_E, W_U)]
    for matrix, slow in zip(("W_E", "W_U"), norms, strict=True):
        summary = [slow.mean(), np.sqrt((slow**2).mean()), *np.percentile(slow, (5, 50, 95))]
        np.testing.assert_allclose(measures["norm_rows"].sel(matrix=matrix).values, summary, rtol=1e-10)
    counts = np.exp(text.log_frequency)
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


def test_a_planted_relation_is_found_and_none_where_there_is_none(subject: AttentionOnlyModel, text: Text) -> None:
    seen = torch.from_numpy(np.isfinite(text.log_frequency))
    W_E = subject.module.W_E.data
    W_E[seen] *= (9 - torch.from_numpy(text.log_frequency)[seen])[:, None] / W_E[seen].norm(dim=-1, keepdim=True)
    assert measured(subject, text)["spearman_rows_frequency"].values[0] < -0.99  # counts may be equal
    W_E[:] = torch.ones(D).double()
    found = measured(subject, text)["spearman_rows_frequency"]
    assert np.isnan(found.values[0])
    assert "NaN where all rows have the same norm" in found.message


def test_the_grammars_own_frequencies_are_used_where_they_are_known(subject: AttentionOnlyModel, text: Text) -> None:
    truth = np.linspace(-1, -5, V)
    subject.module.W_E.data *= (-torch.from_numpy(truth) / subject.module.W_E.norm(dim=-1))[:, None]
    found = measured(subject, replace(text, truth=Truth(truth, ())))["spearman_rows_frequency"]
    assert found.values[0] == pytest.approx(-1)
    assert found.n == V
    assert "those of the grammar" in found.message


def test_frequencies_counted_in_the_text_are_said_to_be(subject: AttentionOnlyModel, text: Text) -> None:
    found = measured(subject, text)["spearman_rows_frequency"]
    assert found.message == "19 tokens that occur, taken as independent; their frequencies are counted in the text"


def test_without_an_unembedding_the_embedding_is_measured_alone(
    subject: AttentionOnlyModel, text: Text, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "unembedding", lambda: NotApplicable("no head"))
    found = measured(subject, text)
    rows = found["norm_rows"]
    assert rows.sel(matrix="W_E").has_number
    assert (rows.sel(matrix="W_U").status, rows.sel(matrix="W_U").message) == ("not applicable", "no head")
    assert found["spearman_rows_frequency"].labels("matrix") == ("W_E",)
