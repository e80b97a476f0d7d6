"""Models that predict no next token, models without a head, and several checkpoints of one recipe."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from mesascope import analyses
from mesascope.models import from_module
from mesascope.models.constructed.norms import planted_norms
from mesascope.probes.measure import Measures
from mesascope.probes.token_norms.probe import TokenNorms


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("families") / "tokens.npy"
    np.save(path, np.random.default_rng(0).integers(1, 50, (12, 40)))
    return str(path)


@pytest.mark.parametrize(
    ("parts", "names"), [("inner", {"step_cosine"}), ("attention+outliers", {"mixing_ratio", "sink_metric"})]
)
def test_parts(parts: str, names: set[str], text: str) -> None:
    measures = TokenNorms(tokens=text, untrained=0, parts=parts).measure(planted_norms(), 0, 8).measures
    assert names == {"step_cosine", "mixing_ratio", "sink_metric"} & set(measures)


def test_a_report_and_a_family_of_steps(text: str, tmp_path: Path) -> None:
    """A report is saved, and over two checkpoints every statistic has an axis "step"."""
    probe, subjects = TokenNorms(tokens=text, untrained=1), []
    for step in (0, 100):
        model = planted_norms(massive=4_000.0 * (step > 0), seed=step)
        model.source = replace(model.source, step=step, revision=f"step{step}")
        subjects.append(model)
    members, whole = analyses.run_family(subjects, probe, batch_size=4)
    record = json.loads((members[0].save(tmp_path, figures="none") / "report.json").read_text())
    assert record["measures"]["step_cosine"]["axes"] == ["layer", "position"]
    assert whole.measures["stream_norm"].axes == ("step", "layer", "position", "statistic")
    assert whole.measures["massive_windows"].values[:, 1, 0].tolist() == [0, 1]
    assert whole.measures["step_cosine"].axes[0] == "step"
    assert whole.measures["norm"].axes == ("step", "site", "layer", "position", "statistic")
    assert whole.measures["norm"].sel(site="mlp_out", step=100).axes == ("layer", "position", "statistic")
    assert whole.measures["norm_growth"].axes == ("step", "position")
    assert whole.measures["untrained_comparison"].axes == ("step", "statistic")
    assert "Massive: dimension 5, layers 1–2." in whole.claim.found
    assert whole.claim.limits[0].startswith("With 1 untrained model p cannot be below 0.5")


def test_a_family_of_seeds(text: str) -> None:
    """Sites are averaged one by one; no cell is counted that no seed has."""
    subjects = []
    for seed in (0, 1):
        model = planted_norms(seed=seed)
        model.source = replace(model.source, seed=seed, revision=f"seed{seed}")
        subjects.append(model)
    _, whole = analyses.run_family(subjects, TokenNorms(tokens=text, untrained=0, parts="none"), batch_size=8)
    for name in ("norm", "norm_outside_blocks", "stream_norm", "spearman", "norm_rows"):
        measure = whole.measures[name]
        assert (measure.replicate, measure.n) == ("seed", 2), name
        assert np.isfinite(measure.values).all(), name
        assert "where it is defined" not in measure.message, name
    assert whole.claim.evidence == "2 seeds. No untrained model was measured beside it."


def test_untrained_models_of_all_seeds_stand_beside_their_mean(text: str) -> None:
    subjects = []
    for seed in (0, 1):
        model = planted_norms(seed=seed)
        model.source = replace(model.source, seed=seed, revision=f"seed{seed}")
        subjects.append(model)
    probe = TokenNorms(tokens=text, untrained=10, parts="none", limit=60)
    members, whole = analyses.run_family(subjects, probe, batch_size=8)
    growth = whole.measures["untrained_comparison"].sel(statistic="norm_growth_later")
    assert growth.nulls["untrained"].shape == (20,)
    assert growth.points.tolist() == [
        of_one.measures["untrained_comparison"].sel(statistic="norm_growth_later").estimate for of_one in members
    ]
    assert "p ≤ 1/21" in whole.claim.evidence
    assert "p cannot be below" in members[0].claim.limits[0]


def test_bert_has_norms_and_mixing_under_the_norm_but_predicts_no_next_token(text: str) -> None:
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.BertConfig(**sizes, intermediate_size=24, max_position_embeddings=32)
        module = transformers.BertForMaskedLM(config).double()
        for parameter in module.parameters():  # fresh norms give every state the same length
            parameter.data.add_(0.2 * torch.randn_like(parameter))
        subject = from_module(module, name="bert")
    measures = TokenNorms(tokens=text, untrained=0).measure(subject, 0, 4).measures
    for name in ("next_token_loss", "inner_loss", "step_cosine", "radial_push"):
        assert measures[name].status == "not applicable"
        assert "bidirectional" in measures[name].message
    ratios = measures["mixing_ratio"].values
    assert np.isfinite(ratios).all()
    assert 0 < ratios.min() < ratios.max() < 1
    assert not np.allclose(ratios[:, 3], ratios[:, 4])
    assert measures["stream_norm"].values.shape == (3, 2, 5)
    assert measures["stream_spearman"].labels("covariate") == ("position", "log_frequency")
    assert "all queries" in measures["sink_importance"].message


def test_a_model_without_a_head_has_norms_and_no_inner_problem(text: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2, n_positions=32)
        subject = from_module(transformers.GPT2Model(config), name="headless")
    measures = Measures(TokenNorms(tokens=text, untrained=1).measure(subject, 0, 8).measures)
    for name in ("inner_loss", "next_token_loss", "norm_rows_W_U"):
        assert measures[name].status == "not applicable"
        assert "no head" in measures[name].message
    assert measures["norm_rows"].sel(matrix="W_E").nulls["untrained"].shape == (1, 5)
    compared = measures["untrained_comparison"]
    assert "spearman_surprisal" not in compared.labels("statistic")
    assert len(compared.sel(statistic="spearman_log_frequency").nulls["untrained"]) == 1
    assert measures["spearman_rows_frequency"].labels("matrix") == ("W_E",)
