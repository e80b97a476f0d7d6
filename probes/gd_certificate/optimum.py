"""The best layer of linear attention for a law of tasks, and how much more any other one loses. Exact, without a draw.

N pairs x_i with covariance Λ, y_i = w·x_i + ε_i with w ~ N(0, τ² I) and ε_i ~ N(0, σ²), and a query of the same law.
A layer with effective matrix M predicts x_q^T M X^T y; M = (η/N) I is one step of gradient descent at learning rate η.
With k the excess kurtosis of each coordinate,

    Γ = (1 + (1 + k)/N) Λ + (tr Λ + σ²/τ²)/N I          N M* = Γ^-1
    loss(M) = τ²/2 [tr Λ - 2N tr(ΛMΛ) + N² tr(Λ M ΛΓ M^T)]          loss(M) - loss(M*) = τ²N²/2 tr(Λ (M-M*) ΛΓ (M-M*)^T)

Gaussian inputs have k = 0, and without noise Γ is that of Zhang, Frei & Bartlett (2306.09927, theorem 4.1). With k
other than 0 the coordinates have to be independent: then Λ is diagonal. Losses are halves of squared errors. Where Λ is
singular, all of this holds still: what M does to directions that no x has counts nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

Matrix = Float[Tensor, "d_in d_in"]
PRESENT = 1e-6
"""Directions with less than this share of the largest variance have none: rounding errors in single precision."""


@dataclass(frozen=True, eq=False)
class Law:
    """What is known of the tasks.

    covariance:       Λ of the inputs, float64
    n_context:        pairs in a context, N
    excess_kurtosis:  k of each coordinate: 0 of Gaussian inputs, -1.2 of uniform ones
    weight_variance:  τ², of a teacher's entries
    noise_variance:   σ², of the labels in the context
    """

    covariance: Matrix
    n_context: int
    excess_kurtosis: float = 0.0
    weight_variance: float = 1.0
    noise_variance: float = 0.0

    @property
    def gaussian(self) -> Law:
        """The law that Zhang, Frei & Bartlett solve: Gaussian inputs of this covariance, and no noise."""
        return replace(self, excess_kurtosis=0.0, noise_variance=0.0)

    @property
    def is_gaussian(self) -> bool:
        return self.excess_kurtosis == self.noise_variance == 0

    @property
    def root(self) -> Matrix:
        """Λ^½."""
        variances, directions = torch.linalg.eigh(self.covariance)
        return directions * variances.clamp(min=0).sqrt() @ directions.mT

    @property
    def directions(self) -> Float[Tensor, "d_in rank"]:
        """An orthonormal basis of the directions that inputs have."""
        variances, directions = torch.linalg.eigh(self.covariance)
        return directions[:, variances > PRESENT * variances.max()]

    def along(self, directions: Float[Tensor, "d_in rank"]) -> Law:
        """The law of these coordinates of Gaussian inputs."""
        return replace(self, covariance=directions.mT @ self.covariance @ directions)


def gamma(law: Law) -> Matrix:
    """Γ, whose inverse is N times the best effective matrix."""
    size, n = law.covariance.trace() + law.noise_variance / law.weight_variance, law.n_context
    identity = torch.eye(len(law.covariance), dtype=law.covariance.dtype)
    return (1 + (1 + law.excess_kurtosis) / n) * law.covariance + size / n * identity


def optimal_matrix(law: Law) -> Matrix:
    """M*, the best effective matrix."""
    return torch.linalg.inv(gamma(law)) / law.n_context


def optimal_learning_rate(law: Law) -> float:
    """η* of the best single step of gradient descent: of the best multiple of the identity, where M* is none."""
    square = law.covariance @ law.covariance
    return float(square.trace() / (square @ gamma(law)).trace())


def expected_loss(M: Matrix, law: Law) -> float:
    """Mean over tasks of ½ (y - x_q^T M X^T y)²."""
    return optimal_loss(law) + excess_loss(M, law)


def optimal_loss(law: Law) -> float:
    """The least that any layer of linear attention can lose."""
    L = law.covariance
    return 0.5 * law.weight_variance * float(L.trace() - (L @ L @ torch.linalg.inv(gamma(law))).trace())


def rank_losses(law: Law) -> Float[Tensor, " rank"]:
    """The least loss of an effective matrix of each rank, from 0 to all directions. It has the optimum in the
    directions with the largest variances, and nothing in the others:

        loss_m = τ²/2 [tr Λ - Σ_{i≤m} λ_i² / γ_i]        γ_i: of Γ, which has the same directions

    Training with heads of rank one rests at these levels (Zhang, Singh, Latham & Saxe, 2501.16265): there the whole
    squared error is tr Λ - Σ_{i≤m} λ_i / (1 + (1 + tr Λ/λ_i)/N), for Gaussian inputs without noise and τ = 1.
    """
    variances, directions = torch.linalg.eigh(law.covariance)
    of_gamma = (directions.mT @ gamma(law) @ directions).diagonal()
    gains = torch.cat([torch.zeros_like(variances[:1]), (variances.square() / of_gamma).flip(0)])
    return 0.5 * law.weight_variance * (law.covariance.trace() - gains.cumsum(0))


def excess_loss(M: Matrix, law: Law) -> float:
    """How much more M loses than M*: a quadratic form in M - M*."""
    L, excess = law.covariance, M - optimal_matrix(law)
    form = (L @ excess @ L @ gamma(law) @ excess.mT).trace()
    return 0.5 * law.weight_variance * law.n_context**2 * float(form)


def whitened_distance(M: Matrix, optimum: Matrix, law: Law) -> float:
    """|Λ^½ (M - optimum) Λ^½| / |Λ^½ optimum Λ^½|, Frobenius: relative distance in inputs of unit covariance."""
    root = law.root
    return float((root @ (M - optimum) @ root).norm() / (root @ optimum @ root).norm())


def identity_distance(M: Matrix, law: Law | None = None) -> float:
    """Distance from the nearest multiple of the identity, relative to |M|: Dist(M, I) of Ahn et al. (2306.00297).

    law:  of inputs that are whitened first: Dist(Λ^½ M Λ^½, I)
    """
    M = M if law is None else law.root @ M @ law.root
    multiple = M.diagonal().mean() * torch.eye(len(M), dtype=M.dtype)
    return float((M - multiple).norm() / M.norm())
