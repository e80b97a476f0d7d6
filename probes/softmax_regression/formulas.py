"""The formulas of softmax regression and of its two shifts, for tensors from anywhere.

    f(A, x) = exp(A x) / <exp(A x), 1>            L(x) = 1/2 |f(A, x) - b|^2

Row i of softmax(A Q K^T A^T) is f(A, K Q^T a_i): what an attention head computes is f of its keys and a query. Li et
al. (2023, arXiv 2304.13276) compare two ways to change it. Gradient descent moves x to x': the same as solving the
problem with other targets, b~ = b + f(A, x) - f(A, x'). A layer of attention moves the data A to A': the same as
solving it with b^ = b + f(A, x) - f(A', x). Both shifts, b~ - b and b^ - b, are differences of f, so b cancels.

J = diag(f) - f f^T, the Jacobian of the softmax, has a spectral norm of at most 1/2, whatever n is. Along a straight
line from x to x' that bounds |b~ - b| by |A|/2 |x' - x|, and from A to A' it bounds |b^ - b| by |x|/2 |A' - A|. Norms
of vectors are Euclidean, norms of matrices spectral.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

Matrix = Float[Tensor, "*batch n d"]
Vector = Float[Tensor, "*batch d"]
Rows = Float[Tensor, "*batch n"]
Number = Float[Tensor, "*batch"]

LEAST_RADIUS = 4.0
"""The theorems of the paper are stated for a radius R of at least 4."""
SMALL_MOVE = 0.01
"""And for moves that change no entry of A x by as much as this."""


def softmax_of(A: Matrix, x: Vector) -> Rows:
    """f(A, x), a probability vector."""
    return scores_of(A, x).softmax(dim=-1)


def scores_of(A: Matrix, x: Vector) -> Rows:
    """A x."""
    return (A @ x[..., None])[..., 0]


def loss_of(f: Rows, b: Rows) -> Number:
    """1/2 |f - b|^2."""
    return 0.5 * (f - b).square().sum(dim=-1)


def times_jacobian(f: Rows, u: Rows) -> Rows:
    """J u = (diag(f) - f f^T) u; J is symmetric."""
    return f * (u - (f * u).sum(dim=-1, keepdim=True))


def loss_gradient(A: Matrix, f: Rows, b: Rows) -> Vector:
    """The gradient of L with respect to x, A^T J (f - b), where f = f(A, x)."""
    return (times_jacobian(f, f - b)[..., None, :] @ A)[..., 0, :]


def spectral_norm(M: Matrix) -> Number:
    """The largest singular value, in float64, from the smaller of the two Gram matrices; NaN where M is not finite."""
    M = M.double()
    gram = M @ M.mT if M.shape[-2] < M.shape[-1] else M.mT @ M
    finite = gram.isfinite().all(dim=-1).all(dim=-1)
    largest = torch.linalg.eigvalsh(torch.where(finite[..., None, None], gram, 0.0))[..., -1]
    return torch.where(finite, largest.clamp(min=0).sqrt(), torch.nan)


def jacobian(f: Rows) -> Float[Tensor, "*batch n n"]:
    """J = diag(f) - f f^T."""
    return torch.diag_embed(f) - f[..., :, None] * f[..., None, :]


def first_order_x(A: Matrix, f: Rows) -> Number:
    """|J A|: the most that a small step of x can shift, per length of the step."""
    return spectral_norm(f[..., None] * (A - (f[..., None, :] @ A)))


def first_order_A(f: Rows, x: Vector) -> Number:
    """|J| |x|: the most that a small change of A can shift, per spectral norm of the change."""
    return spectral_norm(jacobian(f)) * x.double().norm(dim=-1)


def tight_x(A: Matrix) -> Number:
    """|A|/2, which no shift of x exceeds per length of the step, however long it is."""
    return spectral_norm(A) / 2


def tight_A(x: Vector) -> Number:
    """|x|/2, which no shift of A exceeds per spectral norm of the change, however large it is."""
    return x.double().norm(dim=-1) / 2


def radius(A: Matrix, x: Vector) -> Number:
    """The smallest R that the theorems allow: at least 4, |A| and |x|."""
    return torch.maximum(spectral_norm(A), x.double().norm(dim=-1)).clamp(min=LEAST_RADIUS)


def log10_paper_bound(n: int, R: Number) -> Number:
    """log10 of M = n^1.5 exp(10 R^2), the constant of the paper's theorems for both shifts; M itself overflows."""
    return 1.5 * math.log10(n) + 10 * R.square() / math.log(10)


def cosine(u: Rows, v: Rows) -> Number:
    """The cosine between two vectors; NaN where one of them is 0."""
    return (u * v).sum(dim=-1) / (u.norm(dim=-1) * v.norm(dim=-1))
