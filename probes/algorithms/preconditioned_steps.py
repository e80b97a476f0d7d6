"""Several steps of gradient descent with one preconditioner: W <- W + (Yᵀ X - W Xᵀ X) P / N from W = 0.

A linear transformer whose layers share their weights is such a descent (Ahn et al. 2023, arXiv 2306.00297; Gatmiry et
al. 2024, arXiv 2410.08292). P = L Lᵀ is symmetric and not negative anywhere, as for one step.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from einops import einsum
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

from .contexts import Contexts
from .families import Family, Fitted, Predictions
from .preconditioned import balanced, gradient_at_zero, no_matrix

ITERATIONS = 200  # at most
RATES = np.geomspace(1e-2, 1e2, 41)
"""Where the search for P begins: plain descent at the closest of these learning rates, in units of one over the mean
eigenvalue of Xᵀ X / N."""


class PreconditionedSteps(Family):
    """The family of all such P. The squared difference from the predictions is a polynomial in L."""

    def fit(self, contexts: Contexts, predictions: Predictions, steps: int = 0) -> Fitted:
        d = contexts.d_in
        if not predictions.isfinite().all():
            return Fitted(steps, matrix=no_matrix(d))
        aim, basis = predictions.detach(), balanced(contexts.query, gradient_at_zero(contexts).flatten(0, 1))
        whole = float(aim.square().sum()) or 1.0

        def share(half: Float[Tensor, "d d"]) -> Float[Tensor, ""]:
            """Of the predictions' squares that is left, with P = half halfᵀ."""
            return (_descend(contexts, half @ half.T, steps) - aim).square().sum() / whole

        def with_slope(flat: Float[np.ndarray, " dd"]) -> tuple[float, Float[np.ndarray, " dd"]]:
            L = torch.from_numpy(flat).reshape(d, d).requires_grad_()
            left = share(basis @ L)
            (slope,) = torch.autograd.grad(left, L)
            return float(left.detach()), slope.flatten().numpy()

        start = torch.linalg.inv(basis) @ _plain(contexts, share)
        found = minimize(
            with_slope, start.flatten().numpy(), jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS}
        )
        half = basis @ torch.from_numpy(found.x).reshape(d, d)
        return Fitted(steps, matrix=half @ half.T)

    def predict(self, contexts: Contexts, fitted: Fitted) -> Predictions:
        assert fitted.matrix is not None
        return _descend(contexts, fitted.matrix, fitted.steps)


def _descend(contexts: Contexts, P: Float[Tensor, "d d"], steps: int) -> Predictions:
    """ŷ after so many steps."""
    gradient = gradient_at_zero(contexts)
    S = contexts.X.mT @ contexts.X / contexts.n_context
    W = torch.zeros_like(gradient)
    for _ in range(steps):
        W = W + (gradient - W @ S) @ P
    return einsum(W, contexts.query, "task d_out d_in, task d_in -> task d_out")


def _plain(contexts: Contexts, share: Callable[[Tensor], Tensor]) -> Float[Tensor, "d d"]:
    """The root of η I that leaves least."""
    unit = float(contexts.X.square().sum(dim=2).mean()) / contexts.d_in or 1.0
    eye = torch.eye(contexts.d_in, dtype=torch.float64)
    return min((eye * (rate / unit) ** 0.5 for rate in RATES), key=lambda half: float(share(half)))


SEVERAL_STEPS = PreconditionedSteps(
    "preconditioned_steps", "preconditioned GD", "preconditioned gradient descent", tried=(2, 3, 4, 6)
)
