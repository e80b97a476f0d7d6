"""Models that do not show their heads or what is written: those measures have the reason, all others are there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import transformers
from mesascope import analyses
from mesascope.models import from_module
from mesascope.probes.measure import Measures
from mesascope.probes.token_norms.probe import TokenNorms

SIZES = {"vocab_size": 53, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
OF_HEADS = ("sink_importance", "sink_metric", "bos_attention", "value_drain", "key_drain", "mixing_ratio", "ov_norm")
OF_WRITES = ("norm", "spearman", "partial_spearman")
OTHERS = ("stream_norm", "norm_growth", "anisotropy", "massive_windows", "state_peak", "step_cosine", "inner_loss")


def measured(module: transformers.PreTrainedModel, folder: Path) -> analyses.Report:
    np.save(folder / "tokens.npy", np.random.default_rng(0).integers(1, 50, (12, 40)))
    report = analyses.run(from_module(module), TokenNorms(tokens=str(folder / "tokens.npy"), untrained=2), seed=0)
    assert isinstance(report, analyses.Report)
    return report


def statuses(measures: Measures, names: tuple[str, ...]) -> set[str]:
    return {measures[name].status for name in names}


@pytest.fixture(scope="module")
def own_code(tmp_path_factory: pytest.TempPathFactory) -> analyses.Report:
    """XGLM computes attention in its own code; its stream is a sum."""
    config = transformers.XGLMConfig(vocab_size=53, d_model=32, ffn_dim=48, num_layers=2, attention_heads=4)
    return measured(transformers.XGLMForCausalLM(config), tmp_path_factory.mktemp("own_code"))


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> analyses.Report:
    """MiniMax has layers of two kinds, and a stream that is no plain sum."""
    kinds = {"num_local_experts": 2, "layer_types": ["full_attention", "linear_attention"]}
    config = transformers.MiniMaxConfig(**SIZES, **kinds, num_key_value_heads=2, head_dim=8, max_position_embeddings=64)
    return measured(transformers.MiniMaxForCausalLM(config), tmp_path_factory.mktemp("hybrid"))


def test_heads_that_are_not_shown(own_code: analyses.Report) -> None:
    assert statuses(own_code.measures, OF_HEADS) == {"not applicable"}
    assert all("in its own code" in own_code.measures[name].message for name in OF_HEADS)
    assert statuses(own_code.measures, (*OF_WRITES, *OTHERS)) == {"ok"}


def test_writes_that_are_not_shown(hybrid: analyses.Report) -> None:
    assert statuses(hybrid.measures, (*OF_HEADS, *OF_WRITES)) == {"not applicable"}
    assert all("not the sum" in hybrid.measures[name].message for name in OF_WRITES)
    assert statuses(hybrid.measures, OTHERS) == {"ok"}


def test_no_sentence_on_sinks(own_code: analyses.Report, hybrid: analyses.Report) -> None:
    for report in (own_code, hybrid):
        assert "sink" not in report.claim.found.lower()
        limits = " ".join(report.claim.limits)
        assert "what its heads attend to and move is not measured" in limits
        assert ("what attention and MLPs write is not measured" in limits) == (report is hybrid)


def test_a_whole_report_is_written(hybrid: analyses.Report, tmp_path: Path) -> None:
    folder = hybrid.save(tmp_path, figures="png")
    assert (folder / "report.html").exists()
    drawn = {path.stem for path in (folder / "figures").glob("*.png")}
    assert "norms" in drawn
    assert "sinks" not in drawn
