"""Models without the mechanism, for comparison.

Untrained: the same architecture at 50 initialisations. Shuffled labels: the trained model sees each task's context
labels in random order, the candidates see the true ones. (Shuffled for both, the cosine would stay near 1 and test
nothing.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from ...data.batch import Batch, generator
from ...models.own.regression_transformer import RegressionTransformer, initialise
from ...models.regressors import TransformerRegressor
from .examined import Examined
from .reading import Reading
from .sign import readout_sign
from .token_search import read_each

UNTRAINED = 50
SHUFFLES = 20
AUTHORS_INIT_SCALE = 0.002  # divided by the number of layers


@dataclass(frozen=True)
class Untrained:
    """A model before training, with its token layout and the sign of its read-out."""

    module: RegressionTransformer
    reading: Reading
    sign: int


def untrained_models(examined: Examined) -> list[Untrained]:
    """The subject's architecture at fresh initialisations, at the scale of its recipe where it is recorded.

    A wrapped predictor has none: its architecture is not known.
    """
    subject = examined.subject
    if not isinstance(subject, TransformerRegressor):
        return []
    recipe = subject.source.record.get("recipe", {})
    scale = float(recipe.get("init_scale", AUTHORS_INIT_SCALE / subject.config.n_layers))
    draws = (generator(examined.seed, "untrained", _own_draws(examined), draw) for draw in range(UNTRAINED))
    modules = (examined.at_precision(initialise(subject.config, scale, rng)) for rng in draws)
    models = [TransformerRegressor(module, subject.source) for module in modules]
    return [_untrained(examined, *pair) for pair in zip(models, read_each(examined, models), strict=True)]


def _untrained(examined: Examined, model: TransformerRegressor, reading: Reading) -> Untrained:
    read = model.read_as(reading.layout)
    return Untrained(read.module, reading, readout_sign(examined, read))


def shuffles(examined: Examined) -> Iterator[Callable[[Batch], Batch]]:
    """Several ways to put the context labels of tasks in random order."""

    def shuffled(tasks: Batch, draw: int) -> Batch:
        rng = generator(examined.seed, "shuffled labels", _own_draws(examined), draw)
        return Batch(shuffle(examined.inputs(tasks), examined.subject.d_in, rng), tasks.targets, tasks.recipe)

    for draw in range(SHUFFLES):
        yield partial(shuffled, draw=draw)


def _own_draws(examined: Examined) -> int:
    """The seeds of a family draw nulls of their own: side by side they are then as many samples as they look."""
    return examined.subject.source.seed or 0


def shuffle(
    inputs: Float[Tensor, "task token feature"], d_in: int, rng: torch.Generator
) -> Float[Tensor, "task token feature"]:
    """Each context's labels in random order; inputs and the query stay where they are."""
    n, tokens, _ = inputs.shape
    order = torch.rand(n, tokens - 1, generator=rng).argsort(dim=1).to(inputs.device)
    labels = inputs[:, :-1, d_in:].gather(1, order[..., None].expand(-1, -1, inputs.shape[2] - d_in))
    shuffled = inputs.clone()
    shuffled[:, :-1, d_in:] = labels
    return shuffled
