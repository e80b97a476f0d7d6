"""Models without the mechanism, for comparison.

Untrained: the same layer at 50 initialisations. Shuffled b: the trained model sees each task's b in random order, the
candidates see the true one.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ...data.batch import Batch, generator
from ...models.own.softmax_layer import SoftmaxLayer, initialise_softmax_layer
from ...models.softmax_regressors import LayerSoftmaxRegressor
from ..comparing.behaviour import Compared
from .setup import Fitted, Setup

UNTRAINED, SHUFFLED = "untrained", "shuffled b"
INITIALISATIONS, SHUFFLES = 50, 20
INIT_SCALE = 0.02
"""Of an untrained layer where no recipe is recorded: that of the recipes that ship."""


def untrained_layers(setup: Setup) -> list[LayerSoftmaxRegressor]:
    """The subject's layer before training, at the scale of its recipe. A wrapped predictor has none."""
    subject = setup.subject
    if not isinstance(subject, LayerSoftmaxRegressor):
        return []
    scale = float(subject.source.record.get("recipe", {}).get("init_scale", INIT_SCALE))
    return [
        LayerSoftmaxRegressor(_as_subject(setup, initialise_softmax_layer(subject.config, scale, rng)), subject.source)
        for rng in _own_draws(setup, UNTRAINED, INITIALISATIONS)
    ]


def _as_subject(setup: Setup, layer: SoftmaxLayer) -> SoftmaxLayer:
    return layer.to(device=setup.subject.device, dtype=setup.subject.dtype)


def shuffled_tasks(setup: Setup) -> Iterator[Batch]:
    """The nulls' tasks with each b in random order, several times."""
    tasks = setup.splits.nulls
    for rng in _own_draws(setup, SHUFFLED, SHUFFLES):
        order = torch.rand(tasks.targets.shape, generator=rng).argsort(dim=1)
        yield Batch(tasks.inputs, tasks.targets.gather(1, order), tasks.recipe)


def _own_draws(setup: Setup, null: str, n: int) -> list[torch.Generator]:
    """The seeds of a family draw nulls of their own: side by side they are then as many samples as they look."""
    return [generator(setup.seed, null, setup.subject.source.seed or 0, draw) for draw in range(n)]


def null_comparisons(setup: Setup, fitted: Fitted, untrained: list[LayerSoftmaxRegressor]) -> dict[str, list[Compared]]:
    """By null, models without the mechanism beside the candidates, one comparison a draw."""
    tasks = setup.splits.nulls
    candidates = setup.candidates(tasks, fitted)
    models = {
        UNTRAINED: [setup.behaviour(tasks, layer) for layer in untrained],
        SHUFFLED: [setup.behaviour(shuffled) for shuffled in shuffled_tasks(setup)],
    }
    return {
        null: [Compared(one, candidates, tasks.targets) for one in found] for null, found in models.items() if found
    }
