"""Models with an embedding: attention that is a written step on its features, and attention at random."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from mesascope.analyses.training.embedding import initial_embedding
from mesascope.analyses.training.recipe_kinds import EmbeddingRecipe
from mesascope.models import RegressionTransformer, Subject, from_transformer, initialise
from mesascope.probes.deep_features.probe import DeepFeatures
from mesascope.probes.deep_features.standing import Standing
from mesascope.probes.regression import nulls

from ..measured import Measured

N, RATE, WIDTH = 5, 3.0, 6
SINES = {"n_context": N, "d_in": 1, "d_out": 1, "input_range": 10.0, "amplitudes": [0.1, 0.5]}
Module = RegressionTransformer


@dataclass(frozen=True)
class Found(Measured):
    """What was found in a model."""

    @property
    def standing(self) -> Standing:
        return Standing(self.findings.measures)

    def of(self, metric: str, name: str) -> float:
        return self[metric].sel(candidate=name).estimate


def subject_of(module: Module, tasks: Mapping[str, Any] | None = None, name: str = "made") -> Subject:
    """A model that says which tasks it was trained on."""
    subject = from_transformer(module, name)
    record = {} if tasks is None else {"recipe": {"tasks": tasks}}
    object.__setattr__(subject, "source", replace(subject.source, record=record))
    return subject


@pytest.fixture(scope="session")
def planted() -> Callable[..., Module]:
    """(d_in, layers, scale) -> an embedding at random in front of as many written steps."""

    def made(d_in: int = 1, n_layers: int = 1, scale: float = 1.0, rate: float = RATE) -> Module:
        recipe = EmbeddingRecipe(
            name="x", summary="", model={"d_embed": WIDTH}, checkpoint_steps=(1,), rate=rate, init_scale=scale,
            tasks=SINES if d_in == 1 else {"n_context": N, "d_in": d_in},
        )  # fmt: skip
        weights = initial_embedding(recipe, torch.Generator().manual_seed(0))
        config = replace(recipe.config, n_layers=n_layers)
        return Module(config, weights)

    return made


@pytest.fixture(scope="session")
def random_attention(planted: Callable[..., Module]) -> Callable[..., Module]:
    """The same embedding in front of attention at random."""

    def made(seed: int = 1, **settings: Any) -> Module:
        written = planted()
        config = replace(written.config, **settings)
        fresh = initialise(config, 1.0, torch.Generator().manual_seed(seed))
        shared = {name: held for name, held in written.named_parameters() if "E" in name or "embed" in name}
        return Module(config, {**dict(fresh.named_parameters()), **shared})

    return made


@pytest.fixture(scope="session")
def probed() -> Callable[..., Found]:
    """(module, tasks of its record, settings) -> what the probe finds and says."""

    def found(
        module: Module | Subject, n: int = 60, tasks: Mapping[str, Any] | None = SINES, seed: int = 0,
        batch_size: int = 32, **settings: Any,
    ) -> Found:  # fmt: skip
        probe = DeepFeatures(limit=n, **settings)
        subject = subject_of(module, tasks) if isinstance(module, Module) else module
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(nulls, "UNTRAINED", 2)
            patch.setattr(nulls, "SHUFFLES", 2)
            findings = probe.measure(subject, seed, batch_size)
        return Found(findings, probe.claim(findings.measures, (subject.source,)))

    return found
