"""GD++ with settings of its own in every layer, fitted along the singular directions of the contexts.

Without a clip GD++ is a filter of s² (`algorithms/filtered.py`), so no token has to be moved. Its loss has many
valleys. The start is in the deepest one known: a layer turns an eigenvalue λ of X Xᵀ into λ (1 - γλ)², which at
γ = 4/(3Λ) is at most Λ/9 for all λ up to Λ. So settings that grow ninefold a layer flatten inputs as fast as layers
can. Equal settings in all layers lead to valleys with more than twice the loss.

A task with an eigenvalue well beyond Λ grows without end, and one is enough to ruin a mean. So Λ leaves room for tasks
that were not seen, and every task is also fitted with inputs larger by that much, at a small weight.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from einops import reduce
from jaxtyping import Float, Inexact
from scipy.optimize import least_squares
from torch import Tensor
from torch.autograd.functional import hessian as hessian_of

from ..algorithms.algorithm import SETTING_RANGE
from ..algorithms.filtered import gdpp_layers_filter
from ..algorithms.fitting import Fit, fit_log_scale
from ..algorithms.spectrum import Spectrum
from ..statistics.bootstrap import sandwich_interval

Settings = Float[np.ndarray, " setting"]

FLATTENS = 9.0
TAIL = 0.1
UNSEEN = 100
"""Λ is the largest eigenvalue to be expected in so many times as many tasks, from the tail of those that were seen."""
UNSEEN_WEIGHT = 1e-3
"""Of a task with larger inputs, beside 1 for the task as it is."""
_MOST_STEPS = 60
_IMAGINARY = 1e-20


def fit_by_layer(tasks: Spectrum, targets: Float[Tensor, "task d_out"], layers: int) -> tuple[Fit, ...]:
    """Rates of all layers, then gammas of all layers, with the least mean loss; intervals over tasks.

    NaN where GD++ is finite for no rate. The interval of the last γ, which moves no prediction, is NaN.
    """
    objective, growth = _objective(tasks, targets.detach().cpu().double()), FLATTENS ** np.arange(layers)
    gammas = 4 / (3 * objective.most_curved) * growth
    rate = fit_log_scale(lambda rate: objective.losses(np.concatenate([rate * growth, gammas])), *SETTING_RANGE).value
    scale = np.concatenate([rate * growth, gammas])
    if not np.isfinite(rate):
        return (Fit(np.nan, np.nan, np.nan, n=len(targets)),) * len(scale)
    objective = replace(objective, scale=scale)
    with np.errstate(over="ignore"):  # of a step too far, which is taken back
        found: Any = least_squares(
            objective.residuals,
            np.ones(len(scale)),
            jac=objective.jacobian,  # pyright: ignore[reportArgumentType] - the stub knows names of methods only
            x_scale="jac",
            ftol=1e-10,
            max_nfev=_MOST_STEPS,
        )
    ends = np.stack([found.x, *sandwich_interval(found.x, *objective.slopes(found.x))], axis=1) * scale[:, None]
    return tuple(Fit(*map(float, each), n=len(targets)) for each in ends)


@dataclass(frozen=True)
class _Objective:
    """The loss of tasks, each as it is and with larger inputs, as a function of settings divided by `scale`.

    s2, without_filter, targets:  of `Spectrum`, [size, task, …]
    weight:                       of a task of each size
    most_curved:                  Λ
    scale:                        [rates of all layers, gammas of all layers]
    """

    s2: Float[Tensor, "size task rank"]
    without_filter: Float[Tensor, "size task rank d_out"]
    targets: Float[Tensor, "size task d_out"]
    weight: Float[Tensor, " size"]
    n_context: int
    most_curved: float
    scale: float | Float[np.ndarray, " setting"] = 1.0

    def residuals(self, scaled: Settings) -> Float[np.ndarray, " row"]:
        """Of each task's targets: the mean loss is half of the sum of their squares."""
        return (self._off(torch.tensor(scaled * self.scale)) / len(self.targets[0]) ** 0.5).flatten().numpy()

    def jacobian(self, scaled: Settings) -> Float[np.ndarray, "row setting"]:
        """By imaginary steps: a polynomial's derivative is exact, however small they are."""
        steps = scaled + 1j * _IMAGINARY * np.eye(len(scaled))
        moved = self._off(torch.tensor(steps * self.scale).T[..., None, None, None]).imag / _IMAGINARY
        return (moved / len(self.targets[0]) ** 0.5).flatten(1).T.numpy()

    def losses(self, scaled: Settings) -> Float[np.ndarray, " task"]:
        return self._losses(torch.tensor(scaled * self.scale)).numpy()

    def slopes(
        self, scaled: Settings
    ) -> tuple[Float[np.ndarray, "task setting"], Float[np.ndarray, "setting setting"]]:
        """Each task's gradient and the mean loss's Hessian."""
        rows = self.residuals(scaled)[:, None] * self.jacobian(scaled) * len(self.targets[0])
        scores = reduce(rows, "(size task d_out) setting -> task setting", "sum", size=2, task=len(self.targets[0]))
        scale = torch.tensor(self.scale)
        hessian = hessian_of(lambda x: self._losses(x * scale).mean(), torch.tensor(scaled))
        return scores, hessian.numpy()

    def _losses(self, settings: Float[Tensor, " setting"]) -> Float[Tensor, " task"]:
        return 0.5 * self._off(settings).square().sum(dim=(0, 2))

    def _off(self, settings: Inexact[Tensor, "setting *point"]) -> Inexact[Tensor, "*point_size task d_out"]:
        """Prediction minus target, by the square root of the weight."""
        rates, gammas = settings.chunk(2)
        g = gdpp_layers_filter(self.s2, self.n_context, tuple(gammas), tuple(rates))
        return (((g[..., None] * self.without_filter).sum(dim=-2)) - self.targets) * self.weight.sqrt()[:, None, None]


def _objective(tasks: Spectrum, targets: Float[Tensor, "task d_out"]) -> _Objective:
    largest = tasks.s2[:, 0].numpy()
    most = expected_largest(largest)
    up = torch.tensor([1.0, most / largest.max()], dtype=torch.float64)
    s2, without_filter, targets = enlarged(tasks, targets, up)
    return _Objective(
        s2=s2,
        without_filter=without_filter,
        targets=targets,
        weight=torch.tensor([1.0, UNSEEN_WEIGHT], dtype=torch.float64),
        n_context=tasks.n_context,
        most_curved=most,
    )


def enlarged(
    tasks: Spectrum, targets: Float[Tensor, "task d_out"], up: Float[Tensor, " size"]
) -> tuple[Float[Tensor, "size task rank"], Float[Tensor, "size task rank d_out"], Float[Tensor, "size task d_out"]]:
    """s², what a filter multiplies, and targets of the same linear teachers on inputs with so many times the s²."""
    up = up[:, None, None]
    return tasks.s2 * up, tasks.without_filter * up[..., None] ** 1.5, targets * up**0.5


def expected_largest(values: Float[np.ndarray, " task"]) -> float:
    """The largest value to be expected in `UNSEEN` times as many tasks, if the tail falls off exponentially."""
    above = np.quantile(values, 1 - TAIL)
    beyond = values[values > above] - above
    if not len(beyond):
        return float(values.max())
    return max(float(values.max()), float(above + beyond.mean() * np.log(len(beyond) * UNSEEN)))
