"""The exact solution: x at which 1/2 |f(A, x) - b|^2 is least, and how its prediction changes with A.

The problem is not convex. The search starts at the least-squares solution of A x = log b + constant, which is already
exact where b = softmax(A x*), and goes on by damped Gauss-Newton steps (Levenberg-Marquardt). What it ends at is a
stationary point, except at the tasks that `settled` says have not settled.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...data.batch import Batch
from ..comparing.memo import once_per_batch
from .formulas import jacobian, loss_gradient, loss_of, softmax_of
from .solvers import Documents, Targets

STEPS = 100
LEAST_LOG = 1e-30
"""Targets below this enter the start as this: log 0 is no number."""
DAMPING = (1e-3, 1e-12, 1e6)  # at the start, at least, at most
TINY = 1e-300
RANK = 1e-12
"""Curvatures below this share of the largest are none: the prediction hardly changes along such directions."""
SETTLED, AIM = 1e-6, 1e-13
"""A gradient has vanished where it is below this share of what it was at x = 0; what the search tries to reach."""


@once_per_batch
def solved(tasks: Batch) -> Float[Tensor, "task d_in"]:
    """x of every task of a batch: asked for more than once, searched once."""
    return minimiser(tasks.inputs, tasks.targets)


def minimiser(A: Documents, b: Targets) -> Float[Tensor, "task d_in"]:
    """x of every task, in float64."""
    x = _start(A, b)
    damping = torch.full_like(b[..., 0], DAMPING[0])
    for _ in range(STEPS):
        open_ = ~settled(A, b, x, AIM) & (damping < DAMPING[2])
        if not open_.any():
            break
        step = _damped_step(A[open_], b[open_], x[open_], damping[open_])
        before, after = (loss_of(softmax_of(A[open_], at), b[open_]) for at in (x[open_], x[open_] - step))
        better = after < before
        x[open_] = torch.where(better[..., None], x[open_] - step, x[open_])
        damping[open_] = (damping[open_] * torch.where(better, 0.1, 10.0)).clamp(*DAMPING[1:])
    return x


def _damped_step(
    A: Documents, b: Targets, x: Float[Tensor, "task d_in"], damping: Float[Tensor, " task"]
) -> Float[Tensor, "task d_in"]:
    f = softmax_of(A, x)
    slopes = jacobian(f) @ A
    gram = slopes.mT @ slopes
    least = damping * gram.diagonal(dim1=-2, dim2=-1).amax(dim=-1).clamp(min=TINY)
    return torch.linalg.solve(gram + torch.diag_embed(least[..., None].expand_as(x)), loss_gradient(A, f, b))


def _start(A: Documents, b: Targets) -> Float[Tensor, "task d_in"]:
    logs = b.clamp(min=LEAST_LOG).log()
    centred = A - A.mean(dim=-2, keepdim=True)
    return (torch.linalg.pinv(centred) @ (logs - logs.mean(dim=-1, keepdim=True))[..., None])[..., 0]


def settled(A: Documents, b: Targets, x: Float[Tensor, "task d_in"], share: float = SETTLED) -> Bool[Tensor, " task"]:
    """At which tasks the gradient has vanished."""
    left = loss_gradient(A, softmax_of(A, x), b).norm(dim=-1)
    uniform = torch.full_like(b, 1 / b.shape[-1])
    return left <= share * loss_gradient(A, uniform, b).norm(dim=-1)


def curvature(A: Documents, f: Targets, b: Targets) -> Float[Tensor, "task d_in d_in"]:
    """The Hessian of the loss, A^T (diag(u - f.u) + diag(f) - f (u + f)^T) J A, where u = f - b."""
    u = f - b
    on_diagonal = u - (f * u).sum(dim=-1, keepdim=True) + f
    return A.mT @ (torch.diag_embed(on_diagonal) - f[..., :, None] * (u + f)[..., None, :]) @ jacobian(f) @ A


def first_sensitivity(A: Documents, b: Targets, x: Float[Tensor, "task d_in"]) -> Float[Tensor, "task token d_in"]:
    """d f_0(A, x(A)) / dA with b fixed, at the minimiser x.

    The gradient g stays 0 as A changes, so dx = -H^-1 dg: with lambda = H^-1 df_0/dx, both held fixed, what is left to
    differentiate with respect to A is f_0 - lambda . g.
    """
    f = softmax_of(A, x)
    slope = f[..., :1] * (A[..., 0, :] - (f[..., None, :] @ A)[..., 0, :])
    inverse = torch.linalg.pinv(curvature(A, f, b), rtol=RANK, hermitian=True)
    held = (inverse @ slope[..., None])[..., 0]
    A = A.detach().requires_grad_()
    f = softmax_of(A, x)
    left = f[..., 0] - (held * loss_gradient(A, f, b)).sum(dim=-1)
    return torch.autograd.grad(left.sum(), A)[0]
