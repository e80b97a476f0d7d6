"""Small models with random weights, and tasks made up for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer, Source
from mesascope.models.differentiable import Differentiable, differentiable
from mesascope.probes.icl_vs_gd.asked import Asked, Labelled
from mesascope.probes.icl_vs_gd.rules import Demo

D_VOCAB, BOS, LABELS = 16, 15, (10, 11, 12, 13)


@pytest.fixture(scope="session")
def random_model() -> Callable[..., Differentiable]:
    """In float64, of two layers with an MLP."""

    def of(seed: int = 0, dtype: torch.dtype = torch.float64, **settings: Any) -> Differentiable:
        sizes = {"d_vocab": D_VOCAB, "n_ctx": 24, "d_model": 8, "n_layers": 2, "n_heads": 2, "d_head": 4}
        config = AttentionOnlyConfig(**{**sizes, "d_mlp": 8, "positions": "rotary", **settings})
        rng = torch.Generator().manual_seed(seed)
        parameters = {
            name: 0.4 * torch.randn(shape, generator=rng, dtype=torch.float64) + name.endswith("scale")
            for name, shape in config.shapes.items()
        }
        subject = AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), Source("tiny", layout="in-memory"))
        subject.module.to(dtype)
        found = differentiable(subject)
        assert isinstance(found, Differentiable)
        return found

    return of


@pytest.fixture(scope="session")
def made_up() -> Callable[..., list[Asked]]:
    """Tasks of two labels: four demonstrations, and queries of one or, uneven, of one and three tokens."""

    def of(n: int, seed: int = 0, uneven: bool = False, n_queries: int = 3) -> list[Asked]:
        rng = np.random.default_rng(seed)
        found = [_task(rng, uneven, n_queries) for _ in range(n)]
        others = [{name: own.demos for name, own in task.given.items() if name != "shuffled"} for task in found]
        return [replace(task, other=other) for task, other in zip(found, others[1:] + others[:1], strict=True)]

    return of


def _task(rng: np.random.Generator, uneven: bool, n_queries: int) -> Asked:
    labels = [int(label) for label in rng.permutation(LABELS)[:2]]
    inputs = [tuple(int(x) for x in rng.integers(0, 10, 3 if uneven and n % 2 else 1)) for n in range(4 + n_queries)]
    of_class = [0, 1, 1, 0]
    given: dict[Any, Labelled] = {}
    for name, classes in (("true", of_class), ("swapped", [1 - c for c in of_class]), ("shuffled", [1, 1, 0, 0])):
        pairs = [(x, labels[c]) for x, c in zip(inputs[:4], classes, strict=True)]
        before = (BOS, *(token for x, y in pairs for token in (*x, y)))
        given[name] = Labelled(tuple(Demo((BOS, *x), y) for x, y in pairs), tuple((*before, *x) for x in inputs[4:]))
    queries = tuple(Demo((BOS, *x), labels[n % 2]) for n, x in enumerate(inputs[4:]))
    return Asked(queries, tuple(len(x) for x in inputs[4:]), tuple(labels), given, {})
