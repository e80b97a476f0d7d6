"""What the comparisons give without the mechanism.

Untrained: the same architecture at 50 initialisations. Shuffled labels: the trained model sees each task's context
labels in random order, everything it is compared with sees the true ones (shuffled for both, the cosine would stay near
1 and test nothing).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...data.batch import Batch, generator
from ...models.own.regression_transformer import RegressionTransformer, initialise
from ...models.regressors import TransformerRegressor
from ...models.subject import Regressor
from .sensitivity import Behaviour, agreement, behaviour, half_squared_error

UNTRAINED = 50
SHUFFLES = 20
AUTHORS_INIT_SCALE = 0.002  # divided by the number of layers


def untrained_models(subject: TransformerRegressor, seed: int) -> Iterator[RegressionTransformer]:
    """The subject's architecture at fresh initialisations, at the scale of its recipe where it is recorded."""
    recipe = subject.source.record.get("recipe", {})
    scale = float(recipe.get("init_scale", AUTHORS_INIT_SCALE / subject.config.n_layers))
    for draw in range(UNTRAINED):
        module = initialise(subject.config, scale, generator(seed, "untrained", _own_draws(subject), draw))
        yield module.to(device=subject.device, dtype=subject.dtype)


def _own_draws(subject: Regressor) -> int:
    """The seeds of a family draw nulls of their own: side by side they are then as many samples as they look."""
    return subject.source.seed or 0


def shuffled_labels(
    inputs: Float[Tensor, "task token feature"], d_in: int, rng: torch.Generator
) -> Float[Tensor, "task token feature"]:
    """The same tasks with each context's labels in random order; inputs and the query stay where they are."""
    n, tokens, _ = inputs.shape
    order = torch.rand(n, tokens - 1, generator=rng).argsort(dim=1).to(inputs.device)
    labels = inputs[:, :-1, d_in:].gather(1, order[..., None].expand(-1, -1, inputs.shape[2] - d_in))
    shuffled = inputs.clone()
    shuffled[:, :-1, d_in:] = labels
    return shuffled


def null_samples(
    subject: Regressor, others: Mapping[str, Behaviour], tasks: Batch, seed: int, batch_size: int
) -> dict[str, dict[str, Float[np.ndarray, " sample"]]]:
    """For each null, samples of every comparison's mean over `tasks`, by metric name.

    `others` are the twins' and rivals' behaviours on the same tasks, with true labels. An untrained null exists only
    where the architecture is known.
    """
    inputs = tasks.inputs.to(subject.device, subject.dtype)

    def means(model: Behaviour) -> dict[str, float]:
        loss = half_squared_error(model.prediction, tasks.targets)
        found = {"loss_model": float(loss.mean())}
        for name, other in others.items():
            found |= {f"{key}_{name}": float(value.mean()) for key, value in agreement(model, other).items()}
            other_loss = half_squared_error(other.prediction, tasks.targets)
            found[f"loss_difference_{name}"] = float((loss - other_loss).mean())
        return found

    nulls = {}
    if isinstance(subject, TransformerRegressor):
        models = untrained_models(subject, seed)
        untrained = [means(behaviour(model, inputs, subject.d_in, batch_size)) for model in models]
        nulls["untrained"] = _stack(untrained)
    shuffled = []
    for draw in range(SHUFFLES):
        wrong = shuffled_labels(inputs, subject.d_in, generator(seed, "shuffled labels", _own_draws(subject), draw))
        shuffled.append(means(behaviour(subject.predict, wrong, subject.d_in, batch_size)))
    return nulls | {"shuffled labels": _stack(shuffled)}


def _stack(samples: list[dict[str, float]]) -> dict[str, Float[np.ndarray, " sample"]]:
    return {name: np.array([sample[name] for sample in samples]) for name in samples[0]}
