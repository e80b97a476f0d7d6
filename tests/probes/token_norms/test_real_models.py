"""Trained models: the shipped one beside the grammar's truth, a real one on real text, each beside untrained ones."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from mesascope import models
from mesascope.probes.measure import Measure
from mesascope.probes.token_norms.probe import TokenNorms
from mesascope.probes.token_norms.text import read

SHARED = Path(os.environ.get("MESASCOPE_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
STORIES, TEXT = SHARED / "stories260k", SHARED / "texts" / "tinyshakespeare.txt"


@pytest.fixture(scope="module")
def grammar() -> dict[str, Measure]:
    return dict(TokenNorms(limit=5_000, untrained=2).measure(models.load("tiny-grammar"), 0, 8).measures)


def cell(measure: Measure, **at: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values and interval at some labels; axes not named stay."""
    place = tuple(measure.labels(axis).index(at[axis]) if axis in at else slice(None) for axis in measure.axes)
    return measure.values[place], measure.interval[0][place], measure.interval[1][place]


@pytest.mark.parametrize("pair", [("log_frequency", "true_log_frequency"), ("entropy", "true_entropy")])
@pytest.mark.parametrize("name", ["spearman_resid", "spearman_mlp_out"])
def test_relations_with_what_is_estimated_are_those_with_the_truth(
    grammar: dict[str, Measure], name: str, pair: tuple[str, str]
) -> None:
    """Counts in the text and the model's own entropies, beside the grammar's: the same to a few hundredths."""
    estimated, true = (cell(grammar[name], covariate=covariate, position="later")[0] for covariate in pair)
    np.testing.assert_allclose(estimated, true, atol=0.03)
    assert np.abs(estimated).max() > 0.2  # there is a relation to get right


def test_the_model_knows_how_uncertain_the_grammar_is(grammar: dict[str, Measure]) -> None:
    values, low, _ = cell(
        grammar["spearman_covariates"], covariate="entropy", covariate_2="true_entropy", position="later"
    )
    assert values > 0.98
    assert low > 0.97
    reading = read(models.load("tiny-grammar"), limit=5_000)
    truth = np.concatenate([reading.true_entropy(some)[:, 1:-1].ravel() for some in reading.corpus.batches(8)])
    loss, low, high = cell(grammar["next_token_loss"], position="later")
    assert low < high
    assert loss == pytest.approx(truth.mean(), abs=0.05)


def test_what_training_changed_and_what_it_did_not(grammar: dict[str, Measure]) -> None:
    claim = TokenNorms().claim(grammar, (models.load("tiny-grammar").source,))
    assert "2 untrained models" in claim.rival
    assert "Different from all of them: growth of the norm" in claim.rival
    for name, measure in grammar.items():
        assert measure.status != "ok" or measure.nulls["untrained"].shape == (2, *measure.values.shape), name
    later = cell(grammar["step_cosine"], position="later")[0]
    assert later.min() > 0.05  # the loss falls in every layer
    assert cell(grammar["step_gain"], position="later")[0].min() > 0
    assert np.abs(grammar["step_cosine"].nulls["untrained"][..., 1]).max() < 0.05
    assert np.abs(grammar["step_cosine"].nulls["writes of other tokens"][..., 1]).max() < later.max()


@pytest.mark.skipif(not STORIES.is_dir() or not TEXT.is_file(), reason="the shared data are not here")
def test_a_real_model_on_real_text(tmp_path: Path) -> None:
    subject = models.load(STORIES)
    (tmp_path / "text.txt").write_text(TEXT.read_text(encoding="utf-8")[:6_000])
    probe = TokenNorms(text=str(tmp_path / "text.txt"), limit=2_000, context=128, untrained=2)
    findings = probe.measure(subject, 0, 8)
    measures = findings.measures
    assert measures["norm_growth"].replicate == "block"
    assert "a single document" in measures["norm_growth"].message
    np.testing.assert_allclose(measures["inner_loss"].values[-1], measures["next_token_loss"].values, rtol=1e-5)
    assert measures["norm_growth"].estimate > measures["norm_growth"].nulls["untrained"].max()
    claim = probe.claim(measures, (subject.source,))
    assert "Different from all of them" in claim.rival
    assert "blocks" in claim.evidence
    assert findings.recipes["evaluation"].settings["window"] == 128
    # grouped heads: a norm of the write for each head, of the values for each that shares them
    assert measures["write_norm"].values.shape == (5, 8, 2)
    assert measures["value_drain"].values.shape == (5, 4)
    assert np.isfinite(measures["partial_spearman_resid"].values).all()
