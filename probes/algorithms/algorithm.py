"""An algorithm of in-context linear regression: from a context and a query to a prediction y_hat = W x_q.

An algorithm with a free setting can be fitted to predictions, say those of a model: the strongest form of the claim
that the model computes the same. (Fitted to labels instead, ridge on tasks without noise is least squares.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from .filters import Descent, Filter, GeometricSums
from .fitting import Fit, fit_log_scale, scan_points
from .spectrum import Spectrum

SETTING_RANGE = (1e-6, 1e4)  # penalties and learning rates are sought here
SCANNED = 10_000  # tasks at a time: bounds what a scan holds


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

    def fit(
        self,
        tasks: Spectrum,
        predictions: Float[Tensor, "task d_out"],
        scanned: Float[np.ndarray, " point"] | None = None,
    ) -> Fit:
        """The setting at which this algorithm's predictions are closest to these, in mean squared difference.

        scanned:  that at `scan_points(*SETTING_RANGE)`, where it is known
        """
        if self.filter is None or self.setting is None:
            raise ValueError(f"{self.name} has no setting to fit")
        g, without_filter = self.filter, tasks.without_filter

        def distances(setting: float) -> Float[np.ndarray, " task"]:
            return _distances(g(tasks.s2, tasks.n_context, setting), without_filter, predictions).numpy()

        return fit_log_scale(distances, *SETTING_RANGE, scanned)

    @staticmethod
    def _filtered(g: Filter, tasks: Spectrum, setting: float) -> Float[Tensor, "task rank d_out"]:
        return g(tasks.s2, tasks.n_context, setting)[..., None] * tasks.projected_labels


def fit_each(
    algorithms: Sequence[Algorithm], tasks: Spectrum, predictions: Float[Tensor, "task d_out"]
) -> dict[str, Fit]:
    """The fit of every algorithm, by name. Those of gradient descent are scanned together."""
    descents = {a.name: a.filter.steps for a in algorithms if isinstance(a.filter, Descent)}
    scanned = dict(zip(descents, _scan_descents(list(descents.values()), tasks, predictions), strict=True))
    return {a.name: a.fit(tasks, predictions, scanned.get(a.name)) for a in algorithms}


def _scan_descents(
    steps: Sequence[int], tasks: Spectrum, predictions: Float[Tensor, "task d_out"]
) -> Float[np.ndarray, "descent point"]:
    """Mean squared differences, a few tasks at a time."""
    rates = np.exp(scan_points(*SETTING_RANGE))
    total = torch.zeros(len(steps), len(rates), dtype=torch.float64)
    parts = (held.split(SCANNED) for held in (tasks.s2, tasks.without_filter, predictions))
    for s2, without_filter, held in zip(*parts, strict=True):
        for point, rate in enumerate(rates):
            sums = GeometricSums(s2, tasks.n_context, float(rate))
            for number, count in enumerate(steps):
                total[number, point] += _distances(sums.filter(count), without_filter, held).sum()
    return (total / len(predictions)).numpy()


def _distances(
    g: Float[Tensor, "task rank"],
    without_filter: Float[Tensor, "task rank d_out"],
    predictions: Float[Tensor, "task d_out"],
) -> Float[Tensor, " task"]:
    """Squared differences of an algorithm's predictions from these."""
    return ((g[..., None] * without_filter).sum(dim=1) - predictions).square().sum(dim=1)
