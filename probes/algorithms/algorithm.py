"""An algorithm of in-context linear regression: from a context and a query to a prediction y_hat = W x_q.

An algorithm with a free setting can be fitted to predictions, say those of a model: the strongest form of the claim
that the model computes the same. (Fitted to labels instead, ridge on tasks without noise is least squares.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from .filters import Filter
from .fitting import Fit, fit_log_scale
from .spectrum import Spectrum

SETTING_RANGE = (1e-6, 1e4)  # penalties and learning rates are sought here


def zero_label(tasks: Spectrum) -> Float[Tensor, "task d_out"]:
    return torch.zeros_like(tasks.mean_label)


def mean_label(tasks: Spectrum) -> Float[Tensor, "task d_out"]:
    return tasks.mean_label


@dataclass(frozen=True)
class Algorithm:
    """A named algorithm.

    name:      in measures and arrays
    title:     in a sentence
    label:     in a figure
    filter:    g(s²) of `filters.py`; None: the prediction does not depend on the query
    setting:   what is free in the filter ("penalty", "learning rate"), if anything
    constant:  the prediction of an algorithm without a filter
    """

    name: str
    title: str
    label: str
    filter: Filter | None = None
    setting: str | None = None
    constant: Callable[[Spectrum], Float[Tensor, "task d_out"]] = zero_label

    def predictions(self, tasks: Spectrum, setting: float = float("nan")) -> Float[Tensor, "task d_out"]:
        """y_hat of every task."""
        if self.filter is None:
            return self.constant(tasks)
        filtered = self._filtered(self.filter, tasks, setting)
        return einsum(tasks.projected_query, filtered, "task rank, task rank d_out -> task d_out")

    def weights(self, tasks: Spectrum, setting: float = float("nan")) -> Float[Tensor, "task d_out d_in"]:
        """W of every task, which is also the derivative of its prediction with respect to the query."""
        if self.filter is None:
            n, d_in, _ = tasks.V.shape
            return torch.zeros(n, tasks.mean_label.shape[1], d_in, dtype=torch.float64)
        filtered = self._filtered(self.filter, tasks, setting)
        return einsum(tasks.V, filtered, "task d_in rank, task rank d_out -> task d_out d_in")

    def fit(self, tasks: Spectrum, predictions: Float[Tensor, "task d_out"]) -> Fit:
        """The setting at which this algorithm's predictions are closest to these, in mean squared difference."""
        if self.filter is None or self.setting is None:
            raise ValueError(f"{self.name} has no setting to fit")
        g = self.filter

        def distances(setting: float) -> Float[np.ndarray, " task"]:
            weight = g(tasks.s2, tasks.n_context, setting) * tasks.projected_query
            own = einsum(weight, tasks.projected_labels, "task rank, task rank d_out -> task d_out")
            return (own - predictions).square().sum(dim=1).numpy()

        return fit_log_scale(distances, *SETTING_RANGE)

    @staticmethod
    def _filtered(g: Filter, tasks: Spectrum, setting: float) -> Float[Tensor, "task rank d_out"]:
        return g(tasks.s2, tasks.n_context, setting)[..., None] * tasks.projected_labels
