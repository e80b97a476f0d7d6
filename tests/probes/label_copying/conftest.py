"""Models that copy labels, and models that miss one part of it, and what the probe says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from mesascope.models import RegressionConfig, RegressionTransformer, from_transformer, initialise
from mesascope.models.constructed.copied_labels import copying_transformer
from mesascope.probes.label_copying.probe import LabelCopying
from mesascope.probes.label_copying.standing import Standing
from mesascope.probes.regression import nulls

from ..measured import Measured

N, D, RATE = 5, 3, 4.0
Module = RegressionTransformer


@dataclass(frozen=True)
class Copied(Measured):
    """What was found in a model."""

    @property
    def standing(self) -> Standing:
        return Standing(self.findings.measures)

    def loss(self, name: str) -> float:
        return self["loss"].sel(candidate=name).estimate

    def to(self, kind: str) -> float:
        return self["copy_sensitivity"].sel(to=kind).estimate


@pytest.fixture(scope="session")
def copied() -> Callable[..., Copied]:
    """(module, tasks, untrained models, seed, batch size, settings) -> what the probe finds and says."""

    def found(
        module: Module, n: int = 60, untrained: int = 2, seed: int = 0, batch_size: int = 32, **settings: Any
    ) -> Copied:
        law = {} if "tasks" in settings else {"n_context": N}
        probe, subject = LabelCopying(limit=n, **(law | settings)), from_transformer(module)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(nulls, "UNTRAINED", untrained)
            findings = probe.measure(subject, seed, batch_size)
        return Copied(findings, probe.claim(findings.measures, (subject.source,)))

    return found


@pytest.fixture(scope="session")
def planted() -> Callable[[], Module]:
    """Proposition 3: a layer that copies, and one that takes a step."""
    return lambda: copying_transformer(N, RATE, D)


@pytest.fixture(scope="session")
def random_model() -> Callable[..., Module]:
    """(settings, scale) -> two layers, softmax and linear, on tokens apart, at random; in float64."""

    def made(scale: float = 1.0, seed: int = 0, **settings: Any) -> Module:
        base = RegressionConfig(
            d_in=D, n_layers=2, tied=False, n_heads=2, d_head=4, softmax=True, linear_from=1,
            token_order="interleaved", d_position=4,
        )  # fmt: skip
        return initialise(replace(base, **settings), scale, torch.Generator().manual_seed(seed))

    return made
