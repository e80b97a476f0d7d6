"""Trained models: the shipped one beside the grammar's truth, a real one on real text, each beside untrained ones."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from mesascope import models
from mesascope.probes.measure import Measures
from mesascope.probes.token_norms.probe import TokenNorms
from mesascope.probes.token_norms.text import TextSettings, read_text

SHARED = Path(os.environ.get("MESASCOPE_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
STORIES, TEXT = SHARED / "stories260k", SHARED / "texts" / "tinyshakespeare.txt"


LIMIT = 3_000


@pytest.fixture(scope="module")
def grammar() -> Measures:
    return Measures(TokenNorms(limit=LIMIT).measure(models.load("tiny-grammar"), 0, 8).measures)


@pytest.mark.parametrize("pair", [("log_frequency", "true_log_frequency"), ("entropy", "true_entropy")])
@pytest.mark.parametrize("name", ["stream_spearman", "spearman_mlp_out"])
def test_relations_with_what_is_estimated_are_those_with_the_truth(
    grammar: Measures, name: str, pair: tuple[str, str]
) -> None:
    """Counts in the text and the model's own entropies, beside the grammar's: the same to a few hundredths."""
    estimated, true = (grammar[name].sel(covariate=covariate, position="later").values for covariate in pair)
    np.testing.assert_allclose(estimated, true, atol=0.03)
    assert np.abs(estimated).max() > 0.2  # there is a relation to get right


def test_the_model_knows_how_uncertain_the_grammar_is(grammar: Measures) -> None:
    both = {"covariate": "entropy", "covariate_2": "true_entropy", "position": "later"}
    found = grammar["spearman_covariates"].sel(**both)
    assert found.estimate > 0.98
    assert found.interval[0] > 0.97
    text = read_text(models.load("tiny-grammar"), TextSettings(limit=LIMIT))
    truth = np.concatenate([text.true_entropy(some)[:, 1:-1].ravel() for some in text.corpus.batches(8)])
    loss = grammar["next_token_loss"].sel(position="later")
    assert loss.interval[0] < loss.interval[1]
    assert loss.estimate == pytest.approx(truth.mean(), abs=0.05)


def test_what_training_changed_and_what_it_did_not(grammar: Measures) -> None:
    claim = TokenNorms().claim(grammar, (models.load("tiny-grammar").source,))
    assert claim.rival.startswith("Norms go with surprisal more than with frequency: ρ = 0.28")
    assert claim.rival.count("p ≤ 1/20") == 1
    unclear = claim.limits[0].removeprefix("Not distinguishable from untrained models on the same tokens: ")
    assert [words.partition(" (p = ")[0] for words in unclear.split("), ")] == [
        "correlation with frequency", "mixing ratio",
    ]  # fmt: skip
    compared = grammar["untrained_comparison"]
    assert compared.sel(statistic="anisotropy").estimate < compared.sel(statistic="anisotropy").nulls["untrained"].min()
    later = grammar["step_cosine"].sel(position="later").values
    assert later.min() > 0.05  # the loss falls in every layer
    assert grammar["step_gain"].sel(position="later").values.min() > 0
    cosine = compared.sel(statistic="step_cosine")
    assert np.abs(cosine.nulls["untrained"]).max() < cosine.estimate
    assert abs(cosine.nulls["untrained"].mean()) < 0.02  # of 64 tokens each they vary by about 0.03
    assert np.abs(grammar["step_cosine"].nulls["writes of other tokens"][..., 1]).max() < later.max()


@pytest.mark.skipif(not STORIES.is_dir() or not TEXT.is_file(), reason="the shared data are not here")
def test_a_real_model_on_real_text(tmp_path: Path) -> None:
    subject = models.load(STORIES)
    (tmp_path / "text.txt").write_text(TEXT.read_text(encoding="utf-8")[:6_000])
    probe = TokenNorms(text=str(tmp_path / "text.txt"), limit=1_200, context=128, untrained=2)
    findings = probe.measure(subject, 0, 8)
    measures = findings.measures
    assert measures["norm_growth"].replicate == "block"
    assert "the text is one document" in measures["norm_growth"].message
    last, whole = measures["inner_loss"].sel(layer=5), measures["next_token_loss"]
    np.testing.assert_allclose(last.values[0], whole.values[0], rtol=1e-5)  # all tokens at position 0 are in the sample
    assert last.sel(position="later").interval[0] < whole.values[1] < last.sel(position="later").interval[1]
    compared = measures["untrained_comparison"].sel(statistic="norm_growth_later")
    assert compared.estimate > compared.nulls["untrained"].max()
    claim = probe.claim(measures, (subject.source,))
    assert "p ≤" not in claim.rival + claim.evidence  # two untrained models are too few
    assert claim.evidence.startswith("10 blocks. Untrained models: × 1.1")
    assert findings.recipes["evaluation"].settings["window"] == 128
    # grouped heads: a norm of the write for each head, of the values for each that shares them
    assert measures["write_norm"].values.shape == (5, 8, 2)
    assert measures["value_drain"].values.shape == (5, 4)
    assert np.isfinite(measures["partial_stream_spearman"].values).all()
