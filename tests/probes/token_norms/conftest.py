"""What tests of token-norms share: a tiny model, what planted models measure, each measured once, and made measures."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer, Source
from mesascope.models.constructed.norms import planted_norms
from mesascope.probes.measure import Measure, along, without_interval
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


# -- made measures, for sentences --------------------------------------------------------------------------------------

Interval = tuple[float, float, float]
"""An estimate and its ends; NaN for both where there is none."""


class Made:
    """Measures with the numbers that a sentence reads, and nothing else."""

    @staticmethod
    def number(interval: Interval, unit: str = "%", n: int = 12, replicate: str = "document") -> Measure:
        value, low, high = map(np.array, interval)
        return Measure(value, unit, (low, high), replicate, n, no_nulls="made", message="made")

    @classmethod
    def growth(cls, later: Interval, first: Interval = (2.0, 2.0, 2.0), **how: Any) -> dict[str, Measure]:
        parts = [cls.number(interval, "factor per layer", **how) for interval in (first, later)]
        return {"norm_growth": _stacked("position", ("first", "later"), parts)}

    @classmethod
    def correlations(cls, **of_covariates: Interval) -> dict[str, Measure]:
        """Of the last of two layers, after position 0; what is elsewhere must not be read."""
        parts = [cls.number(interval, "rank correlation") for interval in of_covariates.values()]
        last = _stacked("covariate", tuple(of_covariates), parts)
        elsewhere = replace(last, values=last.values + 9)
        layers = [_stacked("position", ("all", "later"), [elsewhere, at]) for at in (elsewhere, last)]
        return {"stream_spearman": _stacked("layer", (0, 1), layers)}

    @staticmethod
    def heads(share: list[list[float]]) -> dict[str, Measure]:
        """Percentage of windows in which a head is an attention sink."""
        found = without_interval(np.array(share), "% of windows", ("layer", "head"), message="-", no_nulls="made")
        return {"sink_share": found}

    @staticmethod
    def massive(*of_layers: list[float]) -> dict[str, Measure]:
        found = without_interval(np.array(of_layers), "dimension", ("layer", "rank"), message="-", no_nulls="made")
        return {"massive_dimension": found}

    @staticmethod
    def comparison(untrained: dict[str, np.ndarray], **own: float) -> dict[str, Measure]:
        parts = {
            name: without_interval(
                np.array(value), "1", message="-", no_nulls="made",
                nulls={"untrained": untrained[name]} if name in untrained else None,
            )
            for name, value in own.items()
        }  # fmt: skip
        return {"untrained_comparison": along("statistic", parts)}


def _stacked(axis: str, labels: tuple[Any, ...], parts: list[Measure]) -> Measure:
    """One measure with a leading axis; `along` without what its parts say of themselves."""
    bounds = tuple(np.stack([part.interval[end] for part in parts]) for end in (0, 1))
    first = parts[0]
    return replace(
        first, values=np.stack([part.values for part in parts]), interval=bounds, axes=(axis, *first.axes),
        coords={axis: labels, **first.coords},
    )  # fmt: skip


@pytest.fixture(scope="session")
def made() -> type[Made]:
    return Made
