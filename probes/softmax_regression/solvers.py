"""What each candidate makes of a task: the scores of its tokens, whose softmax is the prediction.

All start from x = 0, where f is 1/n and J is the centring matrix over n. All are differentiable with respect to A.

    gradient descent   x <- x - eta A^T J (f - b), so A x moves by -eta A A^T J (f - b)
    Gauss-Newton       one step of length eta along (J A)^+ (b - f): Newton's step without the second derivatives of f
    kernel smoothing   factor sum_j softmax_j(sharpness a_i . a_j) b_j: attention with W_KQ a multiple of the identity.
                       As the sharpness goes to 0 this becomes a gradient step
    copy               factor b
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from .formulas import times_jacobian

Documents = Float[Tensor, "task token d_in"]
Targets = Float[Tensor, "task token"]
Grams = Float[Tensor, "task token token"]
"""A A^T."""


def descent(gram: Grams, b: Targets, steps: int, rate: float) -> Targets:
    """Gradient descent with one rate for all steps, in terms of the scores A x and of A A^T alone."""
    *_, scores = descent_path(gram, b, steps, rate)
    return scores


def descent_path(gram: Grams, b: Targets, steps: int, rate: float) -> Iterator[Targets]:
    """The scores after each step."""
    scores = torch.zeros_like(b)
    for _ in range(steps):
        f = scores.softmax(dim=-1)
        scores = scores - rate * (gram @ times_jacobian(f, f - b)[..., None])[..., 0]
        yield scores


def first_step(A: Documents, b: Targets, rate: float) -> Float[Tensor, "task d_in"]:
    """x after one gradient step from 0: rate / n sum_j (b_j - mean b) a_j."""
    weights = rate / A.shape[-2] * (b - b.mean(dim=-1, keepdim=True))
    return (weights[..., None, :] @ A)[..., 0, :]


def gauss_newton(A: Documents, b: Targets) -> Targets:
    """Of length 1. J A is C / n with C the centred A: the scores are n times b - 1/n, projected on its columns."""
    centred = A - A.mean(dim=-2, keepdim=True)
    n = A.shape[-2]
    x = n * (torch.linalg.pinv(centred) @ (b - 1 / n)[..., None])
    return (centred @ x)[..., 0]


def smoothing(gram: Grams, b: Targets, sharpness: float | Tensor, factor: float | Tensor) -> Targets:
    """Attention of every token to all tokens by their similarity A A^T, and what they carry of b."""
    pattern = (sharpness * gram).softmax(dim=-1)
    return factor * (pattern @ b[..., None])[..., 0]
