"""Rank correlations over documents: a planted relation lies in its interval, none where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.data.corpus import windows
from mesascope.models import AttentionOnlyModel
from mesascope.probes.statistics.bootstrap import percentile_interval
from mesascope.probes.token_norms.accumulator import ModelPass
from mesascope.probes.token_norms.correlation_measures import (
    correlation_measures,
    covariates,
    quantity_correlations,
    ranked_covariates,
)
from mesascope.probes.token_norms.text import Text

V, T, LATER = 50, 8, 1


def text() -> Text:
    rng = np.random.default_rng(0)
    documents = [rng.integers(1, V, 70) for _ in range(30)]
    return Text(windows(documents, T, V, bos=0), np.log(np.bincount(np.concatenate(documents), minlength=V) + 1.0))


@pytest.fixture
def read(tiny_model: AttentionOnlyModel) -> ModelPass:
    """A pass whose stream is as long as tokens are high."""
    model_pass = ModelPass(tiny_model, text(), 0, 2)
    for tokens in model_pass.noted.batches(5):
        model_pass.noted.add_tokens("resid", tokens.double() + torch.arange(tokens.shape[1]) / 100)
    return model_pass


def test_a_relation_planted_in_the_tokens_is_found_within_its_interval(read: ModelPass) -> None:
    sample = read.noted.sample
    noise = np.random.default_rng(1).normal(size=len(sample.token))
    planted = {"position": sample.position + 0.0, "log_frequency": noise, "token": -sample.token - 20 * noise}
    ranked = ranked_covariates(read, planted, np.arange(len(sample.token)))
    spearman, partial = quantity_correlations(read, ranked, "resid")
    token, unrelated = (spearman.at(layer=0, covariate=covariate, position=LATER) for covariate in (2, 1))
    low, high = percentile_interval(token.resampled)
    assert -0.8 < low < token.values < high < -0.4
    low, high = percentile_interval(unrelated.resampled)
    assert low < 0 < high
    given = partial.at(layer=0, covariate=2, position=LATER)
    assert given.values < token.values - 0.1  # the noise is known, and taken out


def test_a_token_that_the_text_never_holds_is_rarer_than_any(read: ModelPass) -> None:
    found = covariates(read)
    is_bos = read.noted.sample.token == 0
    assert (found["log_frequency"][is_bos] == 0).all()  # it was counted once for the logarithm's sake
    read.text.log_frequency[0] = -np.inf
    assert (covariates(read)["log_frequency"][is_bos] == -1).all()
    assert covariates(read)["log_frequency"][~is_bos].min() > 0


def test_quantities_that_were_not_noted_have_no_measure(read: ModelPass) -> None:
    found = correlation_measures(read)
    assert set(found) == {"spearman_covariates", "stream_spearman", "partial_stream_spearman"}
    assert found["stream_spearman"].message == "ranks of all tokens; in a resample tokens keep their ranks"
    assert found["partial_stream_spearman"].message.startswith("given position and log frequency; ranks of all tokens")


def test_each_quantity_has_a_label_of_the_axis(read: ModelPass) -> None:
    for name in ("attn_out", "mixing_ratio", "embed"):
        read.noted.sample.columns[name, 0] = read.noted.sample.columns["resid", 0] * (-1 if name == "embed" else 1)
    found = correlation_measures(read)
    assert found["spearman"].labels("quantity") == ("attn_out", "mixing_ratio")
    assert found["partial_spearman_outside_blocks"].labels("quantity") == ("embed",)
    assert found["spearman"].sel(quantity="attn_out").axes == ("layer", "covariate", "position")
    embed = found["spearman_outside_blocks"].sel(quantity="embed")
    assert embed.axes == ("covariate", "position")
    np.testing.assert_allclose(embed.values, -found["stream_spearman"].at(layer=0).values)


def test_without_any_token_of_which_all_is_known_nothing_is_correlated(read: ModelPass) -> None:
    nothing = np.full(len(read.noted.sample.token), np.nan)
    read.noted.sample.columns["surprisal", 0] = read.noted.sample.columns["entropy", 0] = nothing
    for name, measure in correlation_measures(read).items():
        assert measure.status == "undefined", name
        assert measure.message == "no token has a finite next token probability, surprisal, entropy"
