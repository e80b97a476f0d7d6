"""Away from the training tasks: other input and teacher scales, other input laws, wrong labels, and many more steps.

The grids and task counts are those of the authors' code (the paper says 10,000 tasks; its code takes 1,000 and 500).
Every point of a curve uses the same random draws, so that a scale changes the tasks by that scale alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...data.batch import Batch
from ...data.recipe import named_seed
from ...data.regression import LinearRegression, OtherDistributions, RegressionTasks
from ...models.constructed.gradient_descent import gd_transformer
from ...models.own.regression_transformer import RegressionConfig, RegressionTransformer
from .sensitivity import half_squared_error, predictions

ROLLOUT_STEPS = 50
ROLLOUT_DAMPENING = 0.75


@dataclass(frozen=True)
class Curve:
    """One axis along which tasks move away from those of training."""

    name: str
    axis: str
    values: tuple[float, ...]
    n: int
    family: Callable[[LinearRegression, float], RegressionTasks]


def _grid(start: float, stop: float, step: float) -> tuple[float, ...]:
    return tuple(round(float(x), 10) for x in np.arange(start, stop, step))


def _other(law: LinearRegression, input_range: float = 1.0, weight_scale: float = 1.0) -> OtherDistributions:
    return OtherDistributions(law.n_context, law.d_in, law.d_out, input_range, law.weight_scale * weight_scale)


CURVES = (
    Curve(
        "input_scale",
        "input_range",
        _grid(0.5, 2.03, 0.03),
        1_000,
        lambda law, value: replace(law, input_range=law.input_range * value),
    ),
    Curve(
        "weight_scale",
        "weight_scale",
        _grid(0.5, 5.1, 0.1),
        1_000,
        lambda law, value: replace(law, weight_scale=law.weight_scale * value),
    ),
    Curve(
        "other_distributions",
        "input_range",
        _grid(0.5, 5.05, 0.05),
        500,
        lambda law, value: _other(law, input_range=value),
    ),
    Curve(
        "other_distributions_weight_scale",
        "weight_scale",
        _grid(0.5, 5.1, 0.1),
        500,
        lambda law, value: _other(law, weight_scale=value),
    ),
    Curve(
        "noisy_labels",
        "n_corrupted",
        (0, 2, 4, 6, 8),
        10_000,
        lambda law, value: replace(law, n_corrupted=int(value)),
    ),
)
"""Scales multiply those of training; for other distributions `input_range` is the context's Frobenius norm."""


def families_along(curve: Curve, law: LinearRegression) -> dict[float, RegressionTasks]:
    """The task family at each point of a curve, by its own value of the curve's axis (no more wrong labels than N)."""
    values = [v for v in curve.values if curve.axis != "n_corrupted" or v <= law.n_context]
    families = [curve.family(law, value) for value in values]
    return {getattr(family, curve.axis): family for family in families}


def losses_along(
    curve: Curve,
    law: LinearRegression,
    models: Mapping[str, Callable[[Tensor], Tensor]],
    like: Tensor,
    most: int,
    seed: int,
    batch_size: int,
) -> dict[str, Float[np.ndarray, "task value"]]:
    """Each model's loss, task by task, at every point of the curve: of its tasks, or of `most` where they are fewer.

    `like` gives device and dtype.
    """
    found: dict[str, list[np.ndarray]] = {name: [] for name in models}
    for family in families_along(curve, law).values():
        tasks = family.sample(min(curve.n, most), named_seed(seed, "shift", curve.name))
        inputs = tasks.inputs.to(like)
        for name, predict in models.items():
            loss = half_squared_error(predictions(predict, inputs, batch_size), tasks.targets)
            found[name].append(loss.numpy())
    return {name: np.stack(columns, axis=1) for name, columns in found.items()}


def rollout_losses(
    module: RegressionTransformer, learning_rate: float, tasks: Batch
) -> dict[str, Float[np.ndarray, "task step"]]:
    """Loss after each of 50 dampened steps: the trained block applied over and over, and gradient descent.

    Both are dampened by 0.75 and write to the y slots only, as in the authors' figure 1 (right).
    """
    config = module.config
    many = {"n_layers": ROLLOUT_STEPS, "dampening": ROLLOUT_DAMPENING, "target_only": True}
    rolled = RegressionTransformer(RegressionConfig(**{**config.as_dict(), **many}), dict(module.named_parameters()))
    descent = gd_transformer(
        tasks.inputs.shape[1] - 1,
        learning_rate,
        config.d_in,
        config.d_out,
        ROLLOUT_STEPS,
        dampening=ROLLOUT_DAMPENING,
        activation_clip=config.activation_clip,
    ).to(module.W_Q)
    inputs = tasks.inputs.to(module.W_Q)
    with torch.no_grad():
        layers = {"model": rolled.predict_layers(inputs), "gd": descent.predict_layers(inputs)}
    return {
        name: half_squared_error(prediction.cpu().double(), tasks.targets).T.numpy()
        for name, prediction in layers.items()
    }
