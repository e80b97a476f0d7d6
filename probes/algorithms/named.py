"""The algorithms that probes compare models with, each with the one name, title and label that it has everywhere."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from .algorithm import Algorithm, mean_label
from .filters import Descent, minimum_norm_filter, ridge_filter

LEARNING_RATE = "learning rate"
PENALTY = "penalty"

ZERO = Algorithm("zero", "the zero predictor", "zero predictor")
MEAN_LABEL = Algorithm("mean_label", "the mean label", "mean label", constant=mean_label)
RIDGE = Algorithm("ridge", "ridge regression", "ridge", ridge_filter, PENALTY)
MINIMUM_NORM = Algorithm("min_norm", "minimum-norm least squares", "min-norm least squares", minimum_norm_filter)


@cache
def gradient_descent(steps: int) -> Algorithm:
    """So many full-batch steps of gradient descent from W = 0 on 1/(2N) Σ |W x_i - y_i|², at one learning rate."""
    counted = f"{steps} step{'s' * (steps > 1)}"
    return Algorithm(
        f"gd_{steps}",
        f"{counted} of gradient descent",
        f"GD, {counted}",
        Descent(steps),
        LEARNING_RATE,
    )


def algorithms(steps: Iterable[int]) -> tuple[Algorithm, ...]:
    """Every algorithm of this room, and gradient descent of each of these numbers of steps."""
    return (ZERO, MEAN_LABEL, RIDGE, MINIMUM_NORM, *map(gradient_descent, steps))
