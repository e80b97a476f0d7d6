"""The claim card of token-norms: numbers with their intervals, what differs from untrained models, and no theorem."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from mesascope import analyses
from mesascope.data.errors import UsageError
from mesascope.models import AttentionOnlyModel, RegressionConfig, from_module, from_transformer
from mesascope.models.constructed.norms import planted_norms
from mesascope.models.own.regression_transformer import RegressionTransformer
from mesascope.probes.measure import Claim, Measure
from mesascope.probes.token_norms.claim import TITLE, number
from mesascope.probes.token_norms.inner_measures import FORCED
from mesascope.probes.token_norms.probe import TokenNorms


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("claim") / "tokens.npy"
    np.save(path, np.random.default_rng(0).integers(1, 50, (12, 40)))
    return str(path)


def claim_of(model: AttentionOnlyModel, probe: TokenNorms) -> tuple[Claim, dict[str, Measure]]:
    measures = dict(probe.measure(model, 0, 8).measures)
    return probe.claim(measures, (model.source,)), measures


def test_the_card(text: str) -> None:
    claim, measures = claim_of(planted_norms(sink=True, massive=4_000.0), TokenNorms(tokens=text, untrained=2))
    assert claim.found.lower().startswith(TITLE.lower())
    growth = measures["norm_growth"]
    assert f"growth of the norm per layer {growth.estimate:.3g} [{growth.interval[0]:.3g}, " in claim.found
    assert "massive activations in dimension 5" in claim.found
    assert "sink metric (%) 100" in claim.found
    assert "2 untrained models" in claim.rival
    different, alike = claim.rival.split("Not told apart")
    assert "sink metric" in different.split("Different from all")[1]
    assert "sink metric" not in alike
    assert "12 documents" in claim.evidence
    assert claim.limits[0].lower() == f"{FORCED}."
    assert FORCED == "positive step cosine follows from falling loss; it is no evidence of an inner optimizer"
    assert "No theorem is claimed" in claim.limits[1]
    assert FORCED in measures["step_cosine"].message
    assert "reproduce" not in " ".join((claim.found, claim.rival, claim.methods))
    assert any("2310.05884" in one for one in claim.citations)


def test_what_was_not_measured_is_not_spoken_of(text: str) -> None:
    claim, measures = claim_of(planted_norms(), TokenNorms(tokens=text, untrained=0, parts="none"))
    assert claim.rival == "No untrained model stands beside it."
    assert "step cosine" not in " ".join((claim.found, *claim.limits))
    assert "massive activations were not looked for" in claim.found
    assert not any(name.startswith(("step_", "sink_", "mixing_")) for name in measures)
    assert measures["norm_growth"].no_nulls


@pytest.mark.parametrize(
    ("parts", "names"), [("inner", {"step_cosine"}), ("attention+outliers", {"mixing_ratio", "sink_metric"})]
)
def test_parts(parts: str, names: set[str], text: str) -> None:
    measures = TokenNorms(tokens=text, untrained=0, parts=parts).measure(planted_norms(), 0, 8).measures
    assert names == {"step_cosine", "mixing_ratio", "sink_metric"} & set(measures)


def test_a_single_short_document(text: str, tmp_path: Path) -> None:
    """One window: there is nothing to resample, and every measure says so."""
    np.save(tmp_path / "short.npy", np.arange(1, 8))
    claim, measures = claim_of(planted_norms(), TokenNorms(tokens=str(tmp_path / "short.npy"), untrained=1))
    assert "a single block has no interval" in measures["norm_resid"].message
    assert np.isnan(measures["norm_resid"].interval[0]).all()
    assert np.isfinite(measures["norm_resid"].values).all()
    assert "[" not in claim.found


def test_a_number_beside_nulls() -> None:
    labels = {"position": ("first", "later")}
    nulls = {"untrained": np.array([[0.0, 1.0], [5.0, 1.5]])}
    measure = Measure(
        np.array([2.0, 3.0]),
        "norm",
        (np.array([1.0, 2.0]), np.array([4.0, 4.0])),
        "document",
        5,
        ("position",),
        labels,
        nulls,
    )
    first, later = (number({"x": measure}, "x", "x", position=place) for place in labels["position"])
    assert (str(first), first.differs) == ("x 2 [1, 4]", True)
    assert (str(later), later.differs) == ("x 3 [2, 4]", True)
    inside = Measure(
        measure.values,
        "norm",
        measure.interval,
        "document",
        5,
        ("position",),
        labels,
        {"untrained": np.array([[0.0, 2.5]])},
    )
    assert number({"x": inside}, "x", "x", position="later").differs is False
    assert number({}, "x", "x") is None
    assert number({"x": measure}, "x", "x", layer=-1) is None


def test_a_report_and_a_family_of_steps(text: str, tmp_path: Path) -> None:
    """A report is saved, and over two checkpoints every statistic has an axis "step"."""
    from dataclasses import replace

    probe, subjects = TokenNorms(tokens=text, untrained=1), []
    for step in (0, 100):
        model = planted_norms(massive=4_000.0 * (step > 0), seed=step)
        model.source = replace(model.source, step=step, revision=f"step{step}")
        subjects.append(model)
    members, whole = analyses.run_family(subjects, probe, batch_size=4)
    record = json.loads((members[0].save(tmp_path, figures="none") / "report.json").read_text())
    assert record["measures"]["step_cosine"]["axes"] == ["layer", "position"]
    assert whole.measures["norm_resid"].axes == ("step", "layer", "position", "statistic")
    assert whole.measures["massive_windows"].values[:, 1, 0].tolist() == [0, 1]
    assert whole.measures["step_cosine"].axes[0] == "step"
    assert "massive activations in dimension 5" in whole.claim.found


def test_bert_has_norms_and_mixing_under_the_norm_but_predicts_no_next_token(text: str) -> None:
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.BertConfig(**sizes, intermediate_size=24, max_position_embeddings=32)
        module = transformers.BertForMaskedLM(config).double()
        for parameter in module.parameters():  # fresh norms give every state the same length
            parameter.data.add_(0.2 * torch.randn_like(parameter))
        subject = from_module(module, name="bert")
    measures = TokenNorms(tokens=text, untrained=1).measure(subject, 0, 4).measures
    for name in ("next_token_loss", "inner_loss", "step_cosine", "radial_push"):
        assert measures[name].status == "not applicable"
        assert "bidirectional" in measures[name].message
    ratios = measures["mixing_ratio"].values
    assert np.isfinite(ratios).all()
    assert 0 < ratios.min() < ratios.max() < 1
    assert not np.allclose(ratios[:, 3], ratios[:, 4])
    assert measures["norm_resid"].values.shape == (3, 2, 5)
    assert measures["spearman_resid"].labels("covariate") == ("position", "log_frequency")
    assert "all queries" in measures["sink_importance"].message


def test_a_model_without_a_head_has_norms_and_no_inner_problem(text: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2, n_positions=32)
        subject = from_module(transformers.GPT2Model(config), name="headless")
    measures = TokenNorms(tokens=text, untrained=1).measure(subject, 0, 8).measures
    for name in ("inner_loss", "next_token_loss", "norm_unembedding_rows"):
        assert measures[name].status == "not applicable"
        assert "no head" in measures[name].message
    assert measures["norm_resid"].nulls["untrained"].shape == (1, 3, 2, 5)
    assert measures["spearman_rows_frequency"].labels("matrix") == ("W_E",)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"text": "a", "tokens": "b"}, "give one of them"),
        ({"parts": "iner+outliers"}, "did you mean inner"),
        ({"limit": 1}, "limit = 1"),
        ({"context": 1}, "context = 1"),
        ({"untrained": -1}, "untrained = -1"),
        ({"maps": 2, "parts": "inner"}, "need the part 'attention'"),
    ],
)
def test_settings_that_make_no_sense(settings: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        TokenNorms(**settings)


def test_what_it_applies_to(text: str) -> None:
    config = RegressionConfig(d_in=2, d_head=3)
    regressor = from_transformer(RegressionTransformer(config, {n: torch.zeros(s) for n, s in config.shapes.items()}))
    assert "no tokens" in TokenNorms().applies(regressor).reason
    assert TokenNorms().memory(regressor) is None
    model = planted_norms()
    assert "tokenizer" in TokenNorms().applies(model).reason
    assert TokenNorms(tokens=text).applies(model) is None
    assert TokenNorms(tokens=text).memory(model) > TokenNorms(tokens=text, untrained=0).memory(model)


def test_a_files_content_is_part_of_the_run(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "one.txt").write_text("Anna sleeps.")
    same = [TokenNorms(text=str(tmp_path / name)).fingerprint() for name in ("a", "b")]
    assert same[0] == same[1] != {}
    (tmp_path / "b" / "two.txt").write_text("Ben waits.")
    assert TokenNorms(text=str(tmp_path / "b")).fingerprint() != same[0]
    assert TokenNorms(tokens=str(tmp_path / "a" / "one.txt")).fingerprint().keys() == {"tokens_sha256"}
    assert TokenNorms().fingerprint() == {}
