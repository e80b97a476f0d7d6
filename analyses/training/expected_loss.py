"""The expected loss of one layer of linear self-attention for Gaussian inputs, and its gradient. Exact, without a draw.

With G = Σ_i c_i c_i^T over the N context tokens c = [x ; y] and a query x, one layer answers

    y_hat = Σ_ijk T_ijk G_ij x_k        T_ijk = -dampening * Σ_heads K_ki V_j

where K = W_Q W_K^T, and V is the column of W_V W_O that is written into y. For one teacher w the tokens are Gaussian
with covariance S = [[Λ, Λw], [wᵀΛ, wᵀΛw + σ²]], so by Isserlis' theorem, and then as a mean over w ~ N(0, τ² I),

    E[G_ij G_kl] = N² E[S_ij S_kl] + N E[S_ik S_jl] + N E[S_il S_jk]
    loss = E(y - y_hat)² = τ² tr Λ - 2 Σ T_ijk E[G_ij x_k y] + Σ T_ijm E[G_ij G_kl] Λ_m T_klm        (Λ diagonal)

All seeds are computed at once, in float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from einops import einsum, rearrange
from jaxtyping import Float

from ...data.regression import LinearRegression
from ...models.own.regression_config import RegressionConfig

Weights = Mapping[str, Float[np.ndarray, "seed head _ _"]]
"""W_Q, W_K, W_V [seed, head, d_model, d_head], W_O [seed, head, d_head, d_model]."""


@dataclass(frozen=True)
class Moments:
    """What the loss depends on.

    squares:    E[G_ij G_kl], an entry of G in each row and each column
    labels:     E[G_ij x_k y] of the query's x and label
    variances:  of x
    zero:       the loss of answering 0
    """

    squares: Float[np.ndarray, "entry entry"]
    labels: Float[np.ndarray, "entry d_in"]
    variances: Float[np.ndarray, " d_in"]
    zero: float

    @classmethod
    def of(cls, tasks: LinearRegression) -> Moments:
        """Of tasks with Gaussian inputs and one label."""
        n, d, tau = tasks.n_context, tasks.d_in, tasks.weight_scale**2
        variances = np.array(tasks.variances)
        S = _covariances(variances, tau, tasks.noise**2)
        squares = n**2 * S + n * (S.transpose(0, 2, 1, 3) + S.transpose(0, 2, 3, 1))
        labels = np.zeros((d + 1, d + 1, d))
        for i in range(d):
            labels[i, d, i] = labels[d, i, i] = n * tau * variances[i] ** 2
        return cls(
            rearrange(squares, "i j k l -> (i j) (k l)"),
            rearrange(labels, "i j k -> (i j) k"),
            variances,
            tau * float(variances.sum()),
        )


def _covariances(
    variances: Float[np.ndarray, " d_in"], tau: float, noise: float
) -> Float[np.ndarray, "d_model d_model d_model d_model"]:
    """E[S_ij S_kl] over teachers: 0 wherever w occurs an odd number of times."""
    d, of_x = len(variances), np.diag(variances)
    label, square = tau * variances.sum(), (variances**2).sum()
    found = np.zeros((d + 1,) * 4)
    found[:d, :d, :d, :d] = einsum(of_x, of_x, "i j, k l -> i j k l")
    found[:d, :d, d, d] = found[d, d, :d, :d] = of_x * (label + noise)
    mixed = tau * of_x**2
    found[:d, d, :d, d] = found[:d, d, d, :d] = found[d, :d, :d, d] = found[d, :d, d, :d] = mixed
    found[d, d, d, d] = (label + noise) ** 2 + 2 * tau**2 * square
    return found


def expected_loss_and_gradient(
    config: RegressionConfig, moments: Moments, weights: Weights
) -> tuple[Float[np.ndarray, " seed"], dict[str, np.ndarray]]:
    """Each seed's mean squared error over all tasks, and its gradient by each matrix."""
    d, W_Q = config.d_in, weights["W_Q"][:, :, : config.d_in]  # the query's y slot holds 0
    W_K, W_V, into_y = weights["W_K"], weights["W_V"], weights["W_O"][..., d]
    K = np.einsum("shka,shia->shki", W_Q, W_K)
    V = np.einsum("shja,sha->shj", W_V, into_y)
    T = -config.dampening * np.einsum("shki,shj->sijk", K, V)
    T = rearrange(T, "seed i j k -> seed (i j) k")
    quadratic = moments.squares @ T * moments.variances
    losses = moments.zero + ((quadratic - 2 * moments.labels) * T).sum(axis=(1, 2))
    d_T = -2 * config.dampening * rearrange(quadratic - moments.labels, "s (i j) k -> s i j k", i=d + 1)
    d_K = np.einsum("sijk,shj->shki", d_T, V)
    d_V = np.einsum("sijk,shki->shj", d_T, K)
    gradient = {name: np.zeros_like(matrices) for name, matrices in weights.items()}
    gradient["W_Q"][:, :, :d] = np.einsum("shki,shia->shka", d_K, W_K)
    gradient["W_K"][:] = np.einsum("shki,shka->shia", d_K, W_Q)
    gradient["W_V"][:] = np.einsum("shj,sha->shja", d_V, into_y)
    gradient["W_O"][..., d] = np.einsum("shj,shja->sha", d_V, W_V)
    return losses, gradient
