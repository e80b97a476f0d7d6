"""Bayes' answer where the task is one of finitely many (dMMSE; Raventós et al. 2023, arXiv 2306.15063):

    W = Σ_i p_i W_i,  p_i ∝ exp(-Σ_n |y_n - W_i x_n|² / 2σ²)

A model that memorised its training tasks answers so, one that generalises like ridge regression.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from .contexts import Contexts
from .families import Family, Fitted, Predictions
from .fitting import fit_log_scale

VARIANCE = "noise variance"
RANGE = (1e-6, 1e4)


@dataclass(frozen=True)
class TaskSet(Family):
    """tasks: W of every task that there can be."""

    tasks: Float[Tensor, "member d_out d_in"] = field(kw_only=True, compare=False)
    free: ClassVar[int] = 1

    def fit(self, contexts: Contexts, predictions: Predictions, steps: int = 0) -> Fitted:
        errors, answers, shown = self._errors(contexts), self._answers(contexts), predictions.detach()

        def distances(variance: float) -> Float[np.ndarray, " task"]:
            mixed = einsum(_posterior(errors, variance), answers, "task member, task member d_out -> task d_out")
            return (mixed - shown).square().sum(dim=1).numpy()

        return Fitted(0, {VARIANCE: fit_log_scale(distances, *RANGE)})

    def predict(self, contexts: Contexts, fitted: Fitted) -> Predictions:
        posterior = _posterior(self._errors(contexts), fitted.value(VARIANCE))
        return einsum(posterior, self._answers(contexts), "task member, task member d_out -> task d_out")

    def _answers(self, contexts: Contexts) -> Float[Tensor, "task member d_out"]:
        return einsum(self.tasks, contexts.query, "member d_out d_in, task d_in -> task member d_out")

    def _errors(self, contexts: Contexts) -> Float[Tensor, "task member"]:
        """Σ_n |y_n - W x_n|², multiplied out: no member then takes memory for each token."""
        X, Y = contexts.X, contexts.Y
        fitted = einsum(self.tasks, Y.mT @ X, "member d_out d_in, task d_out d_in -> task member")
        squares = einsum(self.tasks, self.tasks, "member d_out i, member d_out j -> member i j")
        return Y.square().sum(dim=(1, 2))[:, None] - 2 * fitted + squares.flatten(1).matmul((X.mT @ X).flatten(1).T).T


def _posterior(errors: Float[Tensor, "task member"], variance: float) -> Float[Tensor, "task member"]:
    return torch.softmax(-errors / (2 * variance), dim=1)
