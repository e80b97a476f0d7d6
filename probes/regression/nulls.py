"""Models without the mechanism, for comparison.

Untrained: the same architecture at 50 initialisations. Shuffled labels: the trained model sees each task's context
labels in random order, the candidates see the true ones. (Shuffled for both, the cosine would stay near 1 and test
nothing.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

import torch
from jaxtyping import Float
from torch import Tensor

from ...data.batch import Batch, generator
from ...models.own.regression_transformer import RegressionTransformer, initialise
from ...models.regressors import TransformerRegressor
from ...models.subject import Regressor
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


def untrained_models(examined: Examined, n: int | None = None) -> list[Untrained]:
    """The subject's architecture at fresh initialisations, at the scale of its recipe where it is recorded.

    n:  the first so many of them; None: all

    A wrapped predictor has none: its architecture is not known.
    """
    subject = examined.subject
    if not isinstance(subject, TransformerRegressor):
        return []
    modules = map(examined.at_precision, islice(untrained_modules(subject, examined.seed), n))
    models = [TransformerRegressor(module, subject.source) for module in modules]
    return [_untrained(examined, *pair) for pair in zip(models, read_each(examined, models), strict=True)]


def untrained_modules(subject: TransformerRegressor, seed: int) -> Iterator[RegressionTransformer]:
    """The weights of `untrained_models` alone, in float64: no task decides how they are read."""
    recipe = subject.source.record.get("recipe", {})
    scale = float(recipe.get("init_scale", AUTHORS_INIT_SCALE / subject.config.n_layers))
    for draw in range(UNTRAINED):
        yield initialise(subject.config, scale, generator(seed, "untrained", _own_draws(subject), draw))


def _untrained(examined: Examined, model: TransformerRegressor, reading: Reading) -> Untrained:
    read = model.read_as(reading.layout)
    return Untrained(read.module, reading, readout_sign(examined, read))


def shuffles(examined: Examined, n: int | None = None) -> Iterator[Callable[[Batch], Batch]]:
    """Several ways to put the context labels of tasks in random order; `n` of them, or `SHUFFLES`."""

    def shuffled(tasks: Batch, draw: int) -> Batch:
        rng = generator(examined.seed, "shuffled labels", _own_draws(examined.subject), draw)
        return Batch(shuffle(examined.inputs(tasks), examined.subject.d_in, rng), tasks.targets, tasks.recipe)

    for draw in range(SHUFFLES if n is None else n):
        yield partial(shuffled, draw=draw)


def _own_draws(subject: Regressor) -> int:
    """The seeds of a family draw nulls of their own: side by side they are then as many samples as they look."""
    return subject.source.seed or 0


def reordered(inputs: Float[Tensor, "task token feature"], rng: torch.Generator) -> Float[Tensor, "task token feature"]:
    """Every task's pairs in a random order of its own; the query stays last."""
    n, tokens, width = inputs.shape
    order = torch.rand(n, tokens - 1, generator=rng).argsort(dim=1).to(inputs.device)
    pairs = inputs[:, :-1].gather(1, order[..., None].expand(-1, -1, width))
    return torch.cat([pairs, inputs[:, -1:]], dim=1)


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
