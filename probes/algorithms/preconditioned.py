"""One step of preconditioned gradient descent: ŷ = x_q P Xᵀ Y / N, with P symmetric and not negative anywhere.

A trained linear-attention layer on inputs of unequal variances is such a step (Ahn et al. 2023, arXiv 2306.00297). An
untrained one is x_q A Xᵀ Y / N with any A: without the condition on P every linear layer would be "gradient descent".
"""

from __future__ import annotations

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from .contexts import Contexts
from .families import Family, Fitted, Predictions

ITERATIONS = 1000  # at most
SETTLED = 1e-12  # a share by which P moves


class Preconditioned(Family):
    """The family of all such P. The squared difference from the predictions is a quadratic in P."""

    def fit(self, contexts: Contexts, predictions: Predictions, steps: int = 0) -> Fitted:
        if not predictions.isfinite().all():
            return Fitted(matrix=no_matrix(contexts.d_in))
        gradient = gradient_at_zero(contexts)
        basis = balanced(contexts.query, gradient.flatten(0, 1))
        outer = einsum(contexts.query @ basis, gradient @ basis, "task i, task d_out j -> task d_out i j").flatten(2)
        quadratic = einsum(outer, outer, "task d_out a, task d_out b -> a b") / len(outer)
        linear = einsum(outer, predictions.detach(), "task d_out a, task d_out -> a") / len(outer)
        return Fitted(matrix=basis @ _descend(quadratic, linear, contexts.d_in) @ basis.T)

    def predict(self, contexts: Contexts, fitted: Fitted) -> Predictions:
        assert fitted.matrix is not None
        return einsum(
            contexts.query, fitted.matrix, gradient_at_zero(contexts), "task i, i j, task d_out j -> task d_out"
        )


def no_matrix(d: int) -> Float[Tensor, "d d"]:
    """Of predictions that are not finite."""
    return torch.full((d, d), torch.nan, dtype=torch.float64)


def gradient_at_zero(contexts: Contexts) -> Float[Tensor, "task d_out d_in"]:
    """Yᵀ X / N: a step of gradient descent from 0 at learning rate 1."""
    return einsum(contexts.Y, contexts.X, "task context d_out, task context j -> task d_out j") / contexts.n_context


def balanced(queries: Float[Tensor, "a d"], gradients: Float[Tensor, "b d"]) -> Float[Tensor, "d d"]:
    """T, so that the second moments of queries T and of gradients T are each other's inverse.

    With P = T P' Tᵀ it is P' that is sought, which takes few iterations also for inputs of unequal variances.
    """
    whitened = _power(queries.T @ queries / len(queries), -0.5)
    seen = gradients @ whitened
    return whitened @ _power(seen.T @ seen / len(gradients), -0.25)


def _power(matrix: Float[Tensor, "d d"], exponent: float) -> Float[Tensor, "d d"]:
    """Of a symmetric matrix without negative eigenvalues; 1 in directions where it is 0 but for rounding."""
    values, vectors = torch.linalg.eigh(matrix)
    seen = values > values[-1] * len(values) * torch.finfo(values.dtype).eps
    return (vectors * torch.where(seen, values, 1.0).pow(exponent)) @ vectors.T


def _descend(quadratic: Float[Tensor, "dd dd"], linear: Float[Tensor, " dd"], d: int) -> Float[Tensor, "d d"]:
    """The P at which ½ P·Q·P - P·l is least among symmetric matrices without negative eigenvalues.

    Accelerated projected gradients (FISTA), which start again where they go up (O'Donoghue & Candès 2015).
    """
    step = 1 / torch.linalg.eigvalsh(quadratic)[-1].clamp_min(torch.finfo(quadratic.dtype).tiny)
    found = ahead = torch.zeros(d, d, dtype=quadratic.dtype)
    momentum = 1.0
    for _ in range(ITERATIONS):
        towards = ahead - step * (quadratic @ ahead.flatten() - linear).reshape(d, d)
        before, found = found, _projected(towards)
        if ((ahead - found) * (found - before)).sum() > 0:
            momentum = 1.0
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = found + (momentum - 1) / following * (found - before)
        momentum = following
        if (found - before).norm() <= SETTLED * found.norm():
            break
    return found


def _projected(matrix: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * values.clamp_min(0)) @ vectors.T


ONE_STEP = Preconditioned("preconditioned", "preconditioned GD, 1 step", "1 step of preconditioned gradient descent")
