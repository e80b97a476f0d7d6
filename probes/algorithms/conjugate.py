"""Conjugate gradients on the normal equations XᵀX w = XᵀY, from w = 0 (Hestenes & Stiefel 1952). Nothing is free."""

from __future__ import annotations

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from .contexts import Contexts
from .families import Family, Fitted, Predictions

SOLVED = 16  # rounding errors of the first residual: one below that is nothing


def conjugate_gradients(
    s2: Float[Tensor, "task rank"], labels: Float[Tensor, "task rank d_out"], steps: int
) -> Float[Tensor, "task rank d_out"]:
    """w along the singular directions after so many steps on s² w = `labels`, each output for itself.

    Residuals are kept orthogonal, as they are in exact arithmetic; a task that is solved sooner stays where it is.
    """
    w, left, direction, before = torch.zeros_like(labels), labels, torch.zeros_like(labels), 1.0
    solved, orthogonal = _norm2(labels) * (SOLVED * torch.finfo(labels.dtype).eps) ** 2, []
    for _ in range(steps):
        norm2 = _norm2(left)
        going = norm2 > solved
        direction = left + direction * (norm2 / before)
        moved = s2[..., None] * direction
        length = torch.where(going, norm2 / (direction * moved).sum(dim=1, keepdim=True), 0.0)
        before = torch.where(going, norm2, 1.0)
        orthogonal.append(left / before.sqrt())
        w, left = w + length * direction, left - length * moved
        for unit in orthogonal:
            left = left - unit * (unit * left).sum(dim=1, keepdim=True)
    return w


def _norm2(values: Float[Tensor, "task rank d_out"]) -> Float[Tensor, "task 1 d_out"]:
    return values.square().sum(dim=1, keepdim=True)


class ConjugateGradients(Family):
    """So many steps; at as many as the rank of a context it is least squares."""

    def fit(self, contexts: Contexts, predictions: Predictions, steps: int = 0) -> Fitted:
        return Fitted(steps)

    def predict(self, contexts: Contexts, fitted: Fitted) -> Predictions:
        return einsum(self.weights(contexts, fitted), contexts.query, "task d_out d_in, task d_in -> task d_out")

    def weights(self, contexts: Contexts, fitted: Fitted) -> Float[Tensor, "task d_out d_in"]:
        tasks = contexts.spectrum
        w = conjugate_gradients(tasks.s2, tasks.projected_labels, fitted.steps)
        return einsum(tasks.V, w, "task d_in rank, task rank d_out -> task d_out d_in")


CONJUGATE_GRADIENTS = ConjugateGradients("cg", "conjugate gradients", "conjugate gradients", tried=(1, 2, 3, 4, 6, 8))
