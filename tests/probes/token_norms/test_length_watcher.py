"""What is watched of the stream and of predictions, and when there is no next token to predict."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer, NotApplicable, Source
from mesascope.probes.token_norms.length_watcher import no_prediction, stream_states


@pytest.fixture
def subject() -> AttentionOnlyModel:
    config = AttentionOnlyConfig(d_vocab=23, n_ctx=9, d_model=5, n_layers=2, n_heads=1, d_head=4)
    rng = torch.Generator().manual_seed(0)
    parameters = {n: torch.randn(shape, generator=rng, dtype=torch.float64) for n, shape in config.shapes.items()}
    return AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), Source("tiny", layout="in-memory"))


def test_the_stream_has_one_layer_more_than_the_model(subject: AttentionOnlyModel) -> None:
    tokens, seen = torch.arange(6)[None], {}
    subject.run(tokens, stream_states(lambda x, layer: seen.setdefault(layer, x)))
    watched = subject.run(tokens, {site: lambda x, layer: x for site in ("resid_pre", "resid_post")}).values
    assert list(seen) == [0, 1, 2]
    assert torch.equal(seen[0], watched["resid_pre"][0])
    assert torch.equal(seen[1], watched["resid_pre"][1])
    assert torch.equal(seen[2], watched["resid_post"][1])


def test_what_is_not_predicted(subject: AttentionOnlyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    assert no_prediction(subject) is None
    monkeypatch.setattr(subject, "unembedding", lambda: NotApplicable("no head"))
    assert no_prediction(subject) == "no head"
    subject.shape = replace(subject.shape, causal=False)
    assert "bidirectional" in str(no_prediction(subject))
