"""The comparison with untrained models: of the same few tokens in all of them, exact in its level, and of no others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data.recipe import named_seed
from mesascope.models import AttentionOnlyModel
from mesascope.models.constructed.norms import planted_norms
from mesascope.probes.measure import Measure
from mesascope.probes.statistics.null_p import two_sided_p
from mesascope.probes.token_norms import inner_watcher
from mesascope.probes.token_norms.measuring import PassSettings, begin_pass
from mesascope.probes.token_norms.names import STATISTICS
from mesascope.probes.token_norms.null_words import LEVEL
from mesascope.probes.token_norms.probe import TokenNorms
from mesascope.probes.token_norms.text import TextSettings, read_text
from mesascope.probes.token_norms.untrained_comparison import SAMPLE_TOKENS, sample_statistics
from scipy import stats

DOCUMENTS = 2
"""Of the twelve of `zipf_file`: each fills a window of 64 tokens with its BOS."""
TAKEN = {
    "norm_growth_later": ("norm_growth", {}, {"position": "later"}),
    "norm_growth_first": ("norm_growth", {}, {"position": "first"}),
    "spearman_surprisal": ("stream_spearman", {"layer": -1}, {"covariate": "surprisal", "position": "later"}),
    "spearman_entropy": ("stream_spearman", {"layer": -1}, {"covariate": "entropy", "position": "later"}),
    "step_cosine": ("step_cosine", {"layer": -1}, {"position": "later"}),
    "mixing_ratio": ("mixing_ratio", {"layer": -1}, {"ratio": "AttnRes-N", "position": "later"}),
    "anisotropy": ("anisotropy", {"layer": -1}, {"dimensions": "all dimensions", "position": "later"}),
    "sink_metric": ("sink_metric", {}, {}),
}
"""Which measure each statistic is, on another text; those of counts on the whole text are proved apart."""


def with_bos(model: AttentionOnlyModel) -> AttentionOnlyModel:
    model.source = replace(model.source, facts={**model.source.facts, "bos": 0})
    return model


def measured(model: AttentionOnlyModel, path: str | Path, **settings: Any) -> dict[str, Measure]:
    return dict(TokenNorms(tokens=str(path), **settings).measure(with_bos(model), 0, 8).measures)


@pytest.fixture(scope="module")
def compared(zipf_file: str) -> Measure:
    return measured(planted_norms(massive=4_000.0), zipf_file, untrained=2)["untrained_comparison"]


@pytest.fixture(scope="module")
def beginning(zipf_file: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of the sample's tokens and no others."""
    path = tmp_path_factory.mktemp("beginning") / "tokens.npy"
    np.save(path, np.load(zipf_file)[:DOCUMENTS])
    return path


def test_every_model_is_read_on_the_same_first_tokens(
    compared: Measure, beginning: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model, and each untrained one, are what they are on a text of these tokens alone."""
    assert DOCUMENTS * 64 == SAMPLE_TOKENS
    monkeypatch.setattr(inner_watcher, "FEWEST", inner_watcher.FEWEST_COMPARED)
    everyone = [planted_norms(massive=4_000.0)]
    everyone += [with_bos(everyone[0]).untrained(named_seed(0, "untrained", number)) for number in range(2)]
    alone = [measured(model, beginning, untrained=0) for model in everyone]
    for name, (measure, places, labels) in TAKEN.items():
        own, *others = (of_one[measure].at(**places).sel(**labels).estimate for of_one in alone)
        part = compared.sel(statistic=name)
        assert part.estimate == pytest.approx(own, rel=1e-9), name
        assert part.nulls["untrained"] == pytest.approx(others, rel=1e-9), name
    assert compared.sel(statistic="massive_windows").estimate == 1
    assert compared.sel(statistic="massive_windows").nulls["untrained"].tolist() == [0, 0]


def test_correlation_with_frequency_by_other_means(compared: Measure, zipf_file: str) -> None:
    """Frequencies are those of the whole text; a window's last token is left out, since nothing is known to follow."""
    tokens = np.load(zipf_file)
    counts = np.bincount(tokens.ravel(), minlength=50)
    windows = torch.from_numpy(np.concatenate([np.zeros((DOCUMENTS, 1), dtype=np.int64), tokens[:DOCUMENTS]], axis=1))
    states = planted_norms(massive=4_000.0).run(windows, {"resid_post": lambda x, layer: x}).values["resid_post"][-1]
    norms = np.linalg.norm(states.numpy(), axis=-1)[:, 1:-1].astype(np.float32)
    rho = stats.spearmanr(norms.ravel(), counts[tokens[:DOCUMENTS, :-1]].ravel()).statistic
    assert compared.sel(statistic="spearman_log_frequency").estimate == pytest.approx(rho, rel=1e-6)


def test_what_comes_after_the_sample_moves_no_number_of_the_comparison(zipf_file: str, tmp_path: Path) -> None:
    """Later documents with their words in another order: the same frequencies, other sentences."""
    tokens, values = np.load(zipf_file), []
    for turned in (tokens, np.concatenate([tokens[:DOCUMENTS], tokens[DOCUMENTS:, ::-1]])):
        np.save(tmp_path / "tokens.npy", turned)
        found = measured(planted_norms(), tmp_path / "tokens.npy", untrained=1)
        values.append((found["untrained_comparison"], found["norm_growth"]))
    (one, whole), (other, other_whole) = values
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.nulls["untrained"], other.nulls["untrained"])
    assert not np.array_equal(whole.values, other_whole.values)


def test_only_what_no_token_is_read_for_has_untrained_nulls_of_its_own(zipf_file: str) -> None:
    found = measured(planted_norms(), zipf_file, untrained=2)
    with_nulls = {name for name, measure in found.items() if "untrained" in measure.nulls}
    of_weights = {"norm_rows", "norm_rows_by_decile", "spearman_rows_frequency", "ov_norm"}
    assert with_nulls == of_weights | {"untrained_comparison"}
    rows = with_bos(planted_norms()).untrained(named_seed(0, "untrained", 1)).embedding().numpy()
    second = found["norm_rows"].sel(matrix="W_E", statistic="mean").nulls["untrained"][1]
    assert second == pytest.approx(np.linalg.norm(rows.astype(np.float64), axis=1).mean())
    assert found["stream_norm"].no_nulls == "no untrained model read the whole text"


@pytest.mark.parametrize(
    ("parts", "left_out"),
    [
        ("inner", {"mixing_ratio", "anisotropy", "sink_metric", "massive_windows"}),
        ("attention+outliers", {"step_cosine"}),
    ],
)
def test_what_was_not_asked_for_is_not_compared(parts: str, left_out: set[str], zipf_file: str) -> None:
    found = measured(planted_norms(), zipf_file, untrained=1, parts=parts)["untrained_comparison"]
    assert set(found.labels("statistic")) == set(STATISTICS) - left_out
    assert [part.unit for part in found.apart().values()] == [STATISTICS[n].unit for n in found.labels("statistic")]


def test_a_statistic_without_a_number_is_not_compared(tmp_path: Path) -> None:
    """Each token occurs once: there is no correlation with frequency."""
    np.save(tmp_path / "tokens.npy", np.arange(1, 8))
    found = measured(planted_norms(), tmp_path / "tokens.npy", untrained=1)["untrained_comparison"]
    part = found.sel(statistic="spearman_log_frequency")
    assert (part.status, part.nulls) == ("undefined", {})
    assert "no number on the tokens that untrained models read" in part.message
    assert found.sel(statistic="spearman_surprisal").status == "ok"


# -- the level ---------------------------------------------------------------------------------------------------------


def statistics_of(seed: int, path: str) -> dict[str, float]:
    model = with_bos(planted_norms(d_model=8, n_ctx=16)).untrained(seed)
    text = read_text(model, TextSettings(tokens=path)).shortened(64)
    return sample_statistics(begin_pass(model, text, 0), PassSettings(("outliers",), 0, 8))


def called_different(own: Mapping[str, float], others: list[dict[str, float]]) -> list[str]:
    p = {name: two_sided_p(np.array(own[name]), np.array([other[name] for other in others])) for name in own}
    return [name for name, value in p.items() if value <= LEVEL]


def test_one_in_twenty_untrained_models_is_called_different(zipf_file: str) -> None:
    """Each of twenty in turn is taken for the trained one: of a statistic that varies, exactly one is."""
    twenty = [statistics_of(seed, zipf_file) for seed in range(20)]
    called = [called_different(twenty[i], twenty[:i] + twenty[i + 1 :]) for i in range(20)]
    for name in twenty[0]:
        varies = len({model[name] for model in twenty}) > 1
        assert sum(name in of_one for of_one in called) == varies, name
    assert len({model["anisotropy"] for model in twenty}) == 20


@pytest.mark.slow
def test_fresh_untrained_models_are_called_different_as_often_as_the_level_allows(zipf_file: str) -> None:
    """Forty, each beside nineteen of its own, by the whole probe and its card."""
    probe = TokenNorms(tokens=zipf_file, context=16, limit=64, parts="inner+outliers")
    n, different = 40, dict.fromkeys(STATISTICS, 0)
    for seed in range(n):
        model = with_bos(planted_norms(d_model=8, n_ctx=16)).untrained(named_seed(seed, "taken for trained"))
        measures = probe.measure(model, seed, 32).measures
        for name, part in measures["untrained_comparison"].apart().items():
            p = float(two_sided_p(part.values, part.nulls["untrained"]))
            different[name] += p <= LEVEL
            words = f"{STATISTICS[name].words} (p = "
            limits = probe.claim(measures, (model.source,)).limits
            assert (words in limits[0]) == (p > LEVEL and len({*part.nulls["untrained"], part.estimate}) > 1)
    most = stats.binom.ppf(1 - 0.01 / len(STATISTICS), n, LEVEL)
    assert max(different.values()) <= most, different
