"""What tests of token-norms share: a tiny model, and what planted models measure, each measured once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer, Source
from mesascope.models.constructed.norms import planted_norms
from mesascope.probes.measure import Measure
from mesascope.probes.token_norms.probe import TokenNorms

VOCABULARY = 50
Planted = Callable[..., dict[str, Measure]]


@pytest.fixture(scope="session")
def tiny_model() -> AttentionOnlyModel:
    """Two random layers over 50 tokens."""
    config = AttentionOnlyConfig(d_vocab=VOCABULARY, n_ctx=9, d_model=5, n_layers=2, n_heads=1, d_head=4)
    rng = torch.Generator().manual_seed(0)
    parameters = {n: torch.randn(shape, generator=rng, dtype=torch.float64) for n, shape in config.shapes.items()}
    return AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), Source("tiny", layout="in-memory"))


@pytest.fixture(scope="session")
def frequencies() -> torch.Tensor:
    weights = 1 / torch.arange(1, VOCABULARY + 1, dtype=torch.float64)
    return weights / weights.sum()


@pytest.fixture(scope="session")
def zipf_file(frequencies: torch.Tensor, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Twelve documents of tokens drawn independently; token 0 is BOS, and is not drawn."""
    path = tmp_path_factory.mktemp("planted") / "tokens.npy"
    p = frequencies.numpy()[1:] / frequencies.numpy()[1:].sum()
    np.save(path, np.random.default_rng(5).choice(np.arange(1, VOCABULARY), size=(12, 63), p=p))
    return str(path)


@pytest.fixture(scope="session")
def planted(zipf_file: str) -> Planted:
    """Everything about a planted model that reads `zipf_file`, beside one untrained model; measured once."""

    @functools.cache
    def measured(**plants: object) -> dict[str, Measure]:
        model = planted_norms(**plants)
        model.source = replace(model.source, facts={**model.source.facts, "bos": 0})
        return dict(TokenNorms(tokens=zipf_file, untrained=1).measure(model, 0, 8).measures)

    return measured
